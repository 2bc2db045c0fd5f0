# What is tried on emulated boxes, and what each try must lead to. Sourced.
# shellcheck shell=bash

image_test() {
  vm_tools
  tool_chain
  [[ -e "$IMAGE/manifest.json" ]] || build
  trap 'stop 2> /dev/null || true' EXIT
  essential first-boot first_boot
  if [[ ${1:-} != --short ]]; then
    stage second-boot second_boot
    served_tools
    stage first-questions first_questions
    stage served in_namespace served
    stage ports in_namespace ports
    stage other-tpm other_tpm
    stage command-line added_command_line
    stage credential smuggled_credential
    stage clear-data-key clear_data_key
    stage root-byte root_byte
    stage kernel-byte kernel_byte
    stage unsigned unsigned_kernel
    stage wrong-key wrong_key
    stage time-sync in_namespace time_sync
    stage tpm-cleared tpm_cleared
    stage clock-1970 clock_1970
    stage probed probed
    stage power-cuts cut_one_of_each
    stage update update_kept
    stage update-left update_left
    stage update-refused update_refused
  fi
  finish
}

# The box that later cases copy: it has made and filled its data partition.
first_boot() {
  new_box first
  start boot
  expect "every claim of the image holds" 'claims: [0-9]+ hold, 0 fail'
  expect "data is open, and the missing configuration is said" 'state: data=open configuration=missing gateway=stopped'
  expect "PCR 11 is what the manifest foretells" "pcr11: $(pcr_after_initrd)"
  stop
}

# PCR 11 once the initrd is left: the manifest's value, extended as systemd-pcrextend(8) does.
pcr_after_initrd() {
  local word
  word=$(printf leave-initrd | sha256sum | cut -d' ' -f1)
  printf '%s%s' "$(jq -r '.pcr.sha256["11"]' "$IMAGE/manifest.json")" "$word" | xxd -r -p | sha256sum | cut -d' ' -f1
}

# copy_box NAME: the first box as its first boot left it.
copy_box() {
  BOX="$OUT/test/$ARCH/$1"
  rm -rf "$BOX"
  cp -r --sparse=always "$OUT/test/$ARCH/first" "$BOX"
}

# partition LABEL: where it begins on the disk, in bytes.
partition() { jq -er --arg name "$1" '.[] | select(.label == $name) | .offset' "$IMAGE/partitions.json"; }

# The same box after a power cut, with a configuration that is wrong.
second_boot() {
  copy_box second
  printf '[node]\nid = "Not An Id"\n' > "$BOX/xinguan.toml"
  mcopy -i "$BOX/disk.raw@@$(partition config)" "$BOX/xinguan.toml" ::
  start boot
  expect "the configuration is judged" 'node\.id: '
  expect "data is open, the gateway does not run" 'state: data=open configuration=present gateway=stopped'
  never "the data partition is made anew" 'Formatting future partition'
  stop
}

# A stolen disk: everything is right but the chip.
other_tpm() {
  copy_box stolen
  rm -rf "$BOX/tpm"
  mkdir "$BOX/tpm"
  start boot
  expect "data stays closed, and the box says so" 'state: data=closed'
  expect "the claim fails" 'claim FAILS data-sealed'
  never "the data partition is made anew" 'Formatting future partition'
  stop
}

# Firmware can add to the command line; it is measured, so the chip refuses the data.
added_command_line() {
  copy_box added
  start boot -smbios "type=11,value=io.systemd.stub.kernel-cmdline-extra=xinguan.added=1"
  expect "the addition is seen" 'claim FAILS command-line'
  expect "data stays closed" 'state: data=closed'
  stop
}

# Firmware tables can carry files and units for systemd; none is taken.
smuggled_credential() {
  copy_box credential
  start boot -smbios "type=11,value=io.systemd.credential:tmpfiles.extra=f /run/xinguan/clear-data-key"
  expect "data is open all the same" 'state: data=open'
  never "the smuggled file has an effect" 'data-clear|cryptsetup\['
  # where it is taken, the box destroys its key and restarts a second after this
  goes_on "the box goes on"
  stop
}

# A disk like the image's, but for one more file in its root, which makes the gateway's request at every boot.
# shellcheck disable=SC2034 # read by the builder
disk_with_request() {
  PROGRAMS="$OUT/programs/$ARCH"
  kernel_of_build
  local file="$BUILD/root/usr/lib/tmpfiles.d/zz-request.conf"
  printf 'f /run/xinguan/clear-data-key\n' > "$file"
  root_hash
  kernel_image
  whole_disk
  rm "$file"
}

# The request is carried out: the key is gone for good.
clear_data_key() {
  disk_with_request
  new_box cleared "$BUILD/disk.raw"
  start request
  expect "the data is made first" 'Formatting future partition|mke2fs'
  ended "the box restarts by itself"
  never "a key slot is left" 'cryptsetup.*([Ff]ail|[Ee]rror)'
  stop
  start after
  expect "data stays closed" 'state: data=closed'
  never "the data partition is made anew" 'Formatting future partition'
  stop
}

# flip FILE OFFSET: another value for one byte.
flip() {
  local old
  old=$(xxd -s "$2" -l 1 -p "$1")
  printf '%02x' $((0x$old ^ 0xff)) | xxd -r -p | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# Bytes of the root's file system, one in each 128 KiB: some are read at once. Not its superblock, by which it is found.
root_byte() {
  local at root
  copy_box root-byte
  root=$(partition root-a)
  for ((at = 131072; at < $(stat -c %s "$IMAGE/xinguan-$ARCH.root"); at += 131072)); do flip "$BOX/disk.raw" $((root + at)); done
  start boot
  expect "the kernel refuses the block and stops" 'verity: .*data block .* is corrupted|dm-verity device.*corrupted|Kernel panic - not syncing: dm-verity'
  never "the system comes up" 'state: '
  stop
}

# replace_kernel FILE: on the box's ESP.
replace_kernel() { mcopy -o -i "$BOX/disk.raw@@$(partition esp)" "$1" "::EFI/Linux/xinguan_$(this_version)_a.efi"; }

refused() {
  start boot
  expect "the firmware refuses it" '[Aa]ccess [Dd]enied|[Ss]ecurity [Vv]iolation'
  never "a kernel starts" 'Linux version'
  stop
}

kernel_byte() {
  copy_box kernel-byte
  cp "$IMAGE/xinguan-$ARCH.efi" "$BOX/kernel.efi"
  flip "$BOX/kernel.efi" 12000000
  replace_kernel "$BOX/kernel.efi"
  refused
}

# Like the image's own, but not signed.
unsigned_kernel() {
  copy_box unsigned
  kernel_of_build
  ukify unsigned.efi
  replace_kernel "$BUILD/unsigned.efi"
  refused
}

# Another command line, signed by a key that the firmware does not know.
wrong_key() {
  copy_box wrong-key
  kernel_of_build
  cp "$BUILD/cmdline" "$BUILD/cmdline.kept"
  printf 'root=/dev/vda2 rw init=/nonexistent' > "$BUILD/cmdline"
  signed_by other
  mv "$BUILD/cmdline.kept" "$BUILD/cmdline"
  replace_kernel "$BUILD/uki.efi"
  refused
}

# What the builder's functions need of a build that is over.
# shellcheck disable=SC2034 # read by the builder
kernel_of_build() { KERNEL=$(basename "$BUILD"/packages/usr/lib/modules/*); }
