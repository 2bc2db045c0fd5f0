# What the box refuses from within and from outside. Sourced.
# shellcheck shell=bash

# A program in the gateway's place, in the gateway's own unit: everything that it tries is refused. And the firmware's log of this
# start leads to what the build's reference manifest foretells.
probed() {
  local units="$BUILD/root/usr/lib/systemd/system" unit="$BUILD/root/usr/lib/systemd/system/xinguan.service"
  cp "$unit" "$WORK/unit.kept"
  sed -i -e 's|^ExecStart=.*|ExecStart=/usr/lib/xinguan/image-checks confinement|' -e 's|^ExecPaths=|&/usr/lib/xinguan/image-checks |' \
    -e '/^ConditionPathExists=/d; s|^Restart=.*|Restart=no|' "$unit"
  printf '[Unit]\nAfter=xinguan.service image-status.service\n[Service]\nType=oneshot\nStandardOutput=journal+console\n%s\n' \
    'ExecStart=/usr/lib/xinguan/image-checks eventlog' > "$units/probe.service"
  ln -s ../probe.service "$units/multi-user.target.wants/probe.service"
  kernel_of_build
  root_hash
  kernel_image
  whole_disk
  mkdir -p "$BUILD/probed"
  cp "$BUILD/uki.efi" "$BUILD/probed/xinguan-$ARCH.efi"
  release > "$BUILD/probed/release.json"
  reference "$BUILD/probed" "$BUILD/esp/EFI/BOOT/$BOOTNAME" > "$BUILD/probed/log"
  mv "$WORK/unit.kept" "$unit"
  rm "$units/probe.service" "$units/multi-user.target.wants/probe.service"
  new_box probed "$BUILD/disk.raw"
  start boot
  expect "everything is refused" 'confinement: ([0-9]+) of \1 refused'
  never "an attempt succeeds" 'confined: NOT'
  expect "the firmware's event log is printed" 'eventlog ends: [0-9]+ bytes'
  stop
  tr -d '\r' < "$LOG" | sed -n 's/^.*eventlog: \([0-9a-f]*\)$/\1/p' | xxd -r -p > "$BOX/eventlog"
  image_manifest check "$BUILD/probed/reference.json" --makers "$BUILD/probed/makers.json" --log "$BOX/eventlog" ||
    { say "  EXPECTED: the log leads to what the reference manifest foretells"; return 1; }
  say "  as expected: the log leads to what the reference manifest foretells"
}

# The box that `served` has left: from inside only the two ports of its configuration, from the MAN none.
ports() {
  trap 'stop 2> /dev/null || true' EXIT
  machine_of
  ip link set lo up
  tap xg-inside 10.0.2.2/24
  tap xg-man 10.0.3.2/24
  BOX="$OUT/test/$ARCH/served"
  # shellcheck disable=SC2034 # read by start
  TAPS=yes
  start ports
  expect "the gateway runs" 'state: data=open configuration=present gateway=running'
  open_on 10.0.2.15 "8443/tcp 9000/tcp"
  open_on 10.0.3.15 ""
  stop
}

tap() {
  ip tuntap add "$1" mode tap
  ip address add "$2" dev "$1"
  ip link set "$1" up
}

# open_on ADDRESS PORTS: all 65,535 are tried; the network is emulated, so answers are waited for patiently.
open_on() {
  local found
  nmap -Pn -n -sS -p- --min-rate 1500 --max-retries 3 --host-timeout 400 "$1" -oG "$BOX/scan-$1.txt" > "$BOX/scan-$1.log"
  grep -q 'Status: Up' "$BOX/scan-$1.txt" || { say "  EXPECTED: a scan of $1 that ends; see $BOX/scan-$1.log"; return 1; }
  found=$(grep -o '[0-9]*/open/tcp' "$BOX/scan-$1.txt" | sed 's|/open||' | paste -sd' ' || true)
  if [[ $found == "$2" ]]; then
    say "  as expected: open on $1: ${2:-nothing}"
  else
    say "  EXPECTED: open on $1: \`$2\`, found \`$found\`"
    return 1
  fi
}

# The chip was cleared: the box says that the counter is gone, and the data stays closed.
tpm_cleared() {
  copy_box tpm-cleared
  swtpm socket --tpm2 --tpmstate "dir=$BOX/tpm" --server "type=unixio,path=$BOX/clear.sock" --ctrl "type=unixio,path=$BOX/clear.sock.ctrl" --flags not-need-init,startup-clear \
    --daemon --pid "file=$BOX/tpm.pid"
  tpm2_clear -Q -T "swtpm:path=$BOX/clear.sock" -c platform
  kill "$(< "$BOX/tpm.pid")"
  start boot
  expect "the lost counter is said" 'floor: REFUSED: the TPM has lost its counter'
  expect "data stays closed, and the box says so" 'state: data=closed'
  never "the data partition is made anew" 'Formatting future partition'
  stop
}

# A dead battery: the clock begins in 1970.
clock_1970() {
  copy_box clock
  start boot -rtc base=1970-01-01T00:00:00
  expect "the box is healthy all the same" 'health: good'
  stop
}
