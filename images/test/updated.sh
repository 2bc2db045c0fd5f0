# Updates of a box: from a stick, kept when healthy, left when not; and what is older than the floor. Sourced.
# shellcheck shell=bash

# Another release with the same programs: a version, a number; and a box that is never healthy, if its name is `sick`.
# Made like the image itself, from the trees that its build left.
release_of() { # NAME VERSION NUMBER
  local -x IMAGE_VERSION=$2 IMAGE_NUMBER=$3
  local name=$1 made="$OUT/test/$ARCH/release-$1" tree
  kernel_of_build
  for tree in root initrd; do
    cp "$BUILD/$tree/usr/lib/xinguan/release.json" "$WORK/release-of-$tree"
    release > "$BUILD/$tree/usr/lib/xinguan/release.json"
  done
  # a file that gives rights: the claim `no-setuid` fails
  [[ $name != sick ]] || install -m 4755 "$BUILD/root/usr/sbin/nft" "$BUILD/root/usr/sbin/unwanted"
  initrd
  root_hash
  kernel_image
  rm -f "$BUILD/root/usr/sbin/unwanted"
  for tree in root initrd; do mv "$WORK/release-of-$tree" "$BUILD/$tree/usr/lib/xinguan/release.json"; done
  release > "$WORK/release.json"
  make_bundle "$made" "$WORK/release.json" "$(first_pass)" "$(first_pass -verity)" "$BUILD/uki.efi"
}

# stick NAME [FILE…]: a stick with that release's bundle, and files that say what is wished.
stick() {
  local name=$1 file
  shift
  rm -f "$BOX/stick.img"
  truncate -s 160M "$BOX/stick.img"
  mformat -F -v XINGUAN-UPD -i "$BOX/stick.img" ::
  mcopy -s -i "$BOX/stick.img" "$OUT/test/$ARCH/release-$name" ::xinguan-update
  : > "$BOX/empty"
  for file in "$@"; do mcopy -i "$BOX/stick.img" "$BOX/empty" "::$file"; done
}

with_stick() {
  local name=$1
  shift
  # the kernel for QEMU's ARM board knows no USB
  local -a bus=(-device "virtio-blk-pci,drive=stick")
  [[ $ARCH == arm64 ]] || bus=(-device qemu-xhci -device "usb-storage,drive=stick")
  start "$name" -drive if=none,id=stick,format=raw,file="$BOX/stick.img" "${bus[@]}" "$@"
}

# entries: the boot entries of the box's ESP.
boot_entries() { mdir -b -i "$BOX/disk.raw@@$(partition esp)" ::EFI/Linux | sed 's|.*/||' | LC_ALL=C sort | paste -sd' '; }

# has_entries WHAT NAME…
has_entries() {
  local what=$1 found
  shift
  found=$(boot_entries)
  if [[ $found == "$*" ]]; then
    say "  as expected: $what"
  else
    say "  EXPECTED: $what: boot entries \`$*\`, found \`$found\`"
    return 1
  fi
}

this_version() { jq -er .version "$IMAGE/release.json"; }

# The whole life of an update: written while the box serves, tried, kept; from then on the system before gets no data.
update_kept() {
  copy_box updated
  release_of newer 9.0.1 2
  stick newer RESTART
  with_stick write
  expect "the running system is healthy" 'health: good'
  expect "the floor is that of the release" 'floor     1'
  expect "the update is written" 'next      xinguan_9\.0\.1_b\+3-0\.efi'
  ended "the box restarts by itself, as the stick asks"
  stop
  has_entries "the new entry is counted" "xinguan_$(this_version)_a.efi" xinguan_9.0.1_b+3-0.efi
  start trial
  expect "the new system has the data" 'state: data=open'
  expect "it is healthy" 'health: good'
  expect "the floor is raised" 'floor     2'
  expect "and its trial is over" 'slot b    9\.0\.1, good, anti-rollback number 2'
  stop
  has_entries "the new entry is no longer counted" "xinguan_$(this_version)_a.efi" xinguan_9.0.1_b.efi
  mdel -i "$BOX/disk.raw@@$(partition esp)" ::EFI/Linux/xinguan_9.0.1_b.efi
  start older
  expect "the older system is refused by its own check" 'floor: REFUSED: this release has anti-rollback number 1'
  expect "data stays closed" 'state: data=closed'
  never "the data partition is made anew" 'Formatting future partition'
  stop
}

# A new system that is never healthy is started three times, then the one before it.
update_left() {
  local start
  copy_box left
  release_of sick 9.0.2 2
  stick sick RESTART
  with_stick write
  expect "the update is written" 'next      xinguan_9\.0\.2_b\+3-0\.efi'
  ended "the box restarts"
  stop
  for start in 1 2 3; do
    # the stick stays in
    with_stick "trial-$start"
    expect "start $start: it finds itself unhealthy" 'health: BAD: the claim no-setuid fails'
    ended "and restarts"
    stop
  done
  with_stick back
  expect "the system before it is back, with its data" 'state: data=open'
  expect "and does not take the same version again" '9\.0\.2 was tried on this box and given up'
  expect "the floor is what it was" 'floor     1'
  stop
  has_entries "the new entry is given up" "xinguan_$(this_version)_a.efi" xinguan_9.0.2_b+0-3.efi
}

# A stick whose bundle was cut off: refused, nothing touched, and no restart though the stick asks for one.
update_refused() {
  local before
  copy_box refused
  before=$(boot_entries)
  release_of newer 9.0.1 2
  stick newer RESTART
  truncate -s 1000 "$BOX/empty"
  local target
  target=$(basename "$(ls "$OUT/test/$ARCH/release-newer/targets"/*.root.img)")
  mcopy -o -i "$BOX/stick.img" "$BOX/empty" "::xinguan-update/targets/$target"
  with_stick cut
  expect "a bundle that was cut off is refused" 'root\.img. is not what was signed'
  expect "the box is healthy" 'health: good'
  goes_on "the box goes on"
  stop
  has_entries "nothing was written" "$before"
}
