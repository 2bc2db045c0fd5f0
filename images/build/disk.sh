# Initrd, verity, kernel image, disk. Sourced.
# shellcheck shell=bash

# version: of the release, by the gateway in it. IMAGE_VERSION, for a try: another one with the same programs.
version() { printf '%s' "${IMAGE_VERSION:-$(sed -n '/^\[workspace\.package\]/,/^\[/s/^version = "\(.*\)"$/\1/p' Cargo.toml)}"; }

# release: what the release is, for the updater and the initrd (images/update, `Manifest`).
release() {
  local NUMBER RING
  # shellcheck source=/dev/null
  . "$RECIPE/release.env"
  printf '{"format":1,"version":"%s","architecture":"%s","number":%d,"ring":%d}\n' "$(version)" "$ARCH" "${IMAGE_NUMBER:-$NUMBER}" "$RING"
}

# seed: ids of partitions and file systems are made of it. The same in every build of a release, another in the next: a
# kernel finds its root and hash tree by their ids, and the other slot holds another release's.
seed() { printf 'xinguan %s %s' "$ARCH" "$(version)" | sha256sum | sed 's/^\(.\{8\}\)\(.\{4\}\)\(.\{4\}\)\(.\{4\}\)\(.\{12\}\).*/\1-\2-\3-\4-\5/'; }

initrd() { pack initrd; }

# pack NAME: a tree as an archive that the kernel unpacks, the same in every build.
pack() {
  # shellcheck disable=SC2016 # expanded inside
  in_tools bash -ec 'cd "$1/$2"
    find . -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
    find . -print0 | LC_ALL=C sort -z | cpio --quiet --null --create --format=newc --reproducible --owner=0:0 |
      zstd -q -10 -T0 -f -o "$1/$2.zst"' bash "/build/$ARCH" "$1"
}

# repart_pass DEFINITIONS DISK OPTION…: partitions into a file, without devices.
repart_pass() {
  local definitions=$1 disk=$2
  shift 2
  rm -f "$BUILD/$disk"
  in_tools systemd-repart --dry-run=no --offline=yes --empty=create --size=auto --sector-size=512 --seed="$(seed)" --json=short \
    --architecture="$ARCH" --definitions="/build/$ARCH/$definitions" --copy-source="/build/$ARCH" \
    --private-key=/build/keys/verity.key --certificate=/build/keys/verity.crt "$@" "/build/$ARCH/$disk" 2> "$BUILD/repart.log" || { tail -n 20 "$BUILD/repart.log" >&2; return 1; }
}

# First pass: the root and its signature, which the kernel's command line then names.
root_hash() {
  find "$BUILD/root" -exec touch --no-dereference --date="@$(epoch)" {} +
  rm -rf "$BUILD"/{root-repart.d,repart.d,root.*}
  cp -r "$RECIPE/root-repart.d" "$BUILD/"
  repart_pass root-repart.d root.raw --split=yes > "$BUILD/root.json"
  jq -er 'map(select(.roothash)) | .[0].roothash' "$BUILD/root.json" > "$BUILD/roothash"
  # the signature partition is JSON, padded with zeros
  tr -d '\0' < "$(ls "$BUILD"/root.*sig*.raw)" > "$BUILD/signature.json"
  [[ "$(jq -r .rootHash "$BUILD/signature.json")" == "$(< "$BUILD/roothash")" ]] || { say "the signature is for another root" >&2; return 1; }
}

# first_pass [-verity]: the file of the root, or of its hash tree.
first_pass() { printf '%s' "$BUILD/root.root-$ARCH${1:-}.raw"; }

file_system_id() { in_tools blkid --probe --output value --match-tag UUID "/build/${1#"$WORK/"}"; }

command_line() {
  {
    cat "$RECIPE"/cmdline.d/{all,"$ARCH"}/*.conf | sed 's/#.*//'
    printf 'roothash=%s ' "$(< "$BUILD/roothash")"
    # by what they contain: the same kernel starts from either slot
    printf 'systemd.verity_root_data=UUID=%s ' "$(file_system_id "$(first_pass)")"
    printf 'systemd.verity_root_hash=UUID=%s ' "$(file_system_id "$(first_pass -verity)")"
    printf 'systemd.verity_root_options=panic-on-corruption,root-hash-signature=/usr/lib/xinguan/root.p7s'
  } | tr -s '\n ' ' ' | sed 's/^ //' > "$BUILD/cmdline"
  # x86's kernel cuts it off there
  [[ $(wc -c < "$BUILD/cmdline") -lt 2048 ]] || { say "the command line is longer than 2047 bytes" >&2; return 1; }
}

# The root's signature is too long for a command line: a second, small initrd holds it.
signature() {
  local folder="$BUILD/signature"
  mkdir -p "$folder/usr/lib/xinguan"
  jq -r .signature "$BUILD/signature.json" | base64 -d > "$folder/usr/lib/xinguan/root.p7s"
  pack signature
}

# Kernel, initrd and command line in one signed file, with the PCR 11 values that it leads to, signed by another key.
kernel_image() {
  command_line
  signature
  cp "$BUILD/root/usr/lib/os-release" "$BUILD/os-release"
  signed_by db
  sed -n 's/^11:sha256=//p' "$BUILD/ukify.log" > "$BUILD/pcr11"
  [[ -s "$BUILD/pcr11" ]] || { say "ukify printed no PCR 11 value" >&2; return 1; }
}

# signed_by KEY
signed_by() {
  ukify uki.efi --signtool=systemd-sbsign --no-sign-kernel \
    --secureboot-private-key="/build/keys/$1.key" --secureboot-certificate="/build/keys/$1.crt" \
    --pcr-private-key=/build/keys/pcr.key --pcr-public-key=/build/keys/pcr.pem --phases=enter-initrd --pcr-banks=sha256 --measure > "$BUILD/ukify.log"
}

# ukify NAME OPTION…
ukify() {
  local name=$1
  shift
  in_tools ukify build --linux="/build/$ARCH/packages/boot/vmlinuz-$KERNEL" --initrd="/build/$ARCH/initrd.zst" --initrd="/build/$ARCH/signature.zst" \
    --cmdline="@/build/$ARCH/cmdline" --os-release="@/build/$ARCH/os-release" --uname="$KERNEL" --efi-arch="$EFI" \
    --stub="/build/$ARCH/stub" "$@" --output="/build/$ARCH/$name" 2> "$BUILD/ukify.err" || { cat "$BUILD/ukify.err" >&2; return 1; }
}

# Boot loader and stub come from the locked packages.
loader() {
  cp "$BUILD/packages/usr/lib/systemd/boot/efi/linux$EFI.efi.stub" "$BUILD/stub"
  mkdir -p "$BUILD"/esp/{EFI/BOOT,EFI/systemd,EFI/Linux,loader}
  in_tools /usr/lib/systemd/systemd-sbsign sign --private-key=/build/keys/db.key --certificate=/build/keys/db.crt \
    --output="/build/$ARCH/esp/EFI/BOOT/$BOOTNAME" "/build/$ARCH/packages/usr/lib/systemd/boot/efi/systemd-boot$EFI.efi"
  cat > "$BUILD/esp/loader/loader.conf" << 'CONF'
timeout 0
editor no
auto-entries no
secure-boot-enroll off
CONF
}

# Second pass: the whole disk, the root in slot a. The data partition is made by the box itself.
whole_disk() {
  rm -rf "$WORK/slot"
  mkdir -p "$WORK/slot"
  cp "$(first_pass)" "$WORK/slot/root"
  cp "$(first_pass -verity)" "$WORK/slot/verity"
  cp "$BUILD/uki.efi" "$BUILD/esp/EFI/Linux/xinguan_$(version)_a.efi"
  find "$BUILD/esp" -exec touch --date="@$(epoch)" {} +
  cp -r "$RECIPE/repart.d" "$BUILD/"
  repart_pass repart.d disk.raw > "$BUILD/disk.json"
}
