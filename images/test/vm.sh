# An emulated box: firmware with our keys, a TPM, a disk, two network cards. Sourced.
# shellcheck shell=bash

FIRMWARE=''  # code of the emulated firmware, and its variables before anything was set
VARIABLES=''
CPU=max
NETWORKS=()
MACHINE=()   # the emulator, and what differs between architectures
BOX=''      # folder of the box that is tried
VM=''       # process id of the running machine
TPM_PID=''  # … and of its TPM
PORT=''     # where the inside interface's port 8443 is reached; 9000 is on the next port
OUTSIDE=no  # whether the MAN interface reaches this machine
TAPS=no     # whether both interfaces end in a network namespace of ours, as xg-inside and xg-man
BOOT_S=${BOOT_S:-400} # one boot under emulation: two minutes, more on a machine that has other work to do

machine_of() {
  case $ARCH in
    x86-64)
      FIRMWARE=/usr/share/OVMF/OVMF_CODE_4M.fd VARIABLES=/usr/share/OVMF/OVMF_VARS_4M.fd FIRMWARE_PACKAGE=ovmf
      # Secure Boot without system management mode: on a busy machine emulated processors wait for each other in it for minutes
      MACHINE=(qemu-system-x86_64 -machine "q35,smm=off" -vga none -device i6300esb -device "tpm-crb,tpmdev=tpm0")
      ;;
    arm64)
      FIRMWARE=/usr/share/AAVMF/AAVMF_CODE.ms.fd VARIABLES=/usr/share/AAVMF/AAVMF_VARS.fd FIRMWARE_PACKAGE=qemu-efi-aarch64
      CPU="max,pauth-impdef=on" # its own way of signing pointers is an order slower to emulate
      MACHINE=(qemu-system-aarch64 -machine virt -device "tpm-tis-device,tpmdev=tpm0")
      BOOT_S=$((BOOT_S * 3 / 2))
      ;;
  esac
}

vm_tools() {
  machine_of
  need "${MACHINE[0]}" "$([[ $ARCH == arm64 ]] && echo qemu-system-arm || echo qemu-system-x86)" "the emulated machine"
  need swtpm swtpm "its TPM"
  need xxd xxd "bends bytes"
  need mcopy mtools "writes the configuration partition and tampers with the ESP"
  [[ -e "$FIRMWARE" ]] || { say "missing: its firmware"; NEEDED+=("$FIRMWARE_PACKAGE"); }
  install_needed
}

# new_box NAME [DISK]: a folder with a fresh disk, a fresh TPM and firmware that knows our keys.
new_box() {
  BOX="$OUT/test/$ARCH/$1"
  rm -rf "$BOX"
  mkdir -p "$BOX/tpm"
  cp --sparse=always "${2:-$IMAGE/xinguan-$ARCH.raw}" "$BOX/disk.raw"
  truncate -s 512M "$BOX/disk.raw"
  lend_keys
  firmware_variables "$VARIABLES" "$BOX/vars.fd"
}

# start NAME [OPTION…]: starts the box BOX; its console goes to NAME.log.
start() {
  LOG="$BOX/$1.log"
  shift
  : > "$LOG"
  PORT=$((20000 + RANDOM % 20000))
  networks
  swtpm socket --tpm2 --tpmstate "dir=$BOX/tpm" --ctrl "type=unixio,path=$BOX/tpm.sock" --terminate \
    --daemon --pid "file=$BOX/tpm.pid" --log "file=$BOX/swtpm.log" # returns once it listens
  TPM_PID=$(< "$BOX/tpm.pid")
  "${MACHINE[@]}" -accel tcg,thread=multi -cpu "$CPU" -smp 2 -m 1024 -nodefaults -display none -no-reboot \
    -drive if=pflash,format=raw,unit=0,readonly=on,file="$FIRMWARE" \
    -drive if=pflash,format=raw,unit=1,file="$BOX/vars.fd" \
    -drive if=none,id=disk,format=raw,file="$BOX/disk.raw" -device virtio-blk-pci,drive=disk,bootindex=0 \
    -chardev socket,id=tpm,path="$BOX/tpm.sock" -tpmdev emulator,id=tpm0,chardev=tpm \
    "${NETWORKS[@]}" \
    -device virtio-rng-pci -serial "file:$LOG" "$@" > "$BOX/qemu.log" 2>&1 &
  VM=$!
}

networks() {
  NETWORKS=(
    -netdev "user,id=inside,restrict=on,hostfwd=tcp:127.0.0.1:$PORT-10.0.2.15:8443,hostfwd=tcp:127.0.0.1:$((PORT + 1))-10.0.2.15:9000"
    -netdev "user,id=man,net=10.0.3.0/24,restrict=$([[ $OUTSIDE == yes ]] && echo off || echo on)"
  )
  [[ $TAPS == no ]] || NETWORKS=(
    -netdev "tap,id=inside,ifname=xg-inside,script=no,downscript=no"
    -netdev "tap,id=man,ifname=xg-man,script=no,downscript=no"
  )
  NETWORKS+=(
    -device "virtio-net-pci,netdev=inside,mac=52:54:00:00:00:01"
    -device "virtio-net-pci,netdev=man,mac=52:54:00:00:00:02"
  )
}

# Power is cut; the disk keeps what was written.
stop() {
  local pid
  for pid in $VM $TPM_PID; do
    kill -9 "$pid" 2> /dev/null || true
    wait "$pid" 2> /dev/null || true
  done
  VM='' TPM_PID=''
  [[ -z "$BOX" ]] || rm -f "$BOX/tpm.sock"
}

# seen SECONDS PATTERN: the console shows it before the deadline, or the machine ends.
seen() {
  timeout "$1" grep -qaEm1 -- "$2" <(tail -n +1 -F --pid="$VM" -- "$LOG" 2> /dev/null) || grep -qaE -- "$2" "$LOG"
}

# expect WHAT PATTERN: fails with the console's end.
expect() {
  local began=$SECONDS
  if seen "$BOOT_S" "$2"; then
    say "  as expected: $1 ($((SECONDS - began)) s)"
  else
    say "  EXPECTED: $1: \`$2\` on the console within $BOOT_S s. Its last lines:"
    tail -n 25 "$LOG" | tr -d '\r' | sed 's/^/    /'
    stop
    return 1
  fi
}

# ended WHAT: the machine ends by itself before the deadline (it does not restart: -no-reboot).
ended() {
  if timeout "$BOOT_S" tail --pid="$VM" -f /dev/null; then
    say "  as expected: $1"
  else
    say "  EXPECTED: $1 within $BOOT_S s. The console's last lines:"
    tail -n 25 "$LOG" | tr -d '\r' | sed 's/^/    /'
    stop
    return 1
  fi
}

# goes_on WHAT: the machine does not restart within 20 seconds.
goes_on() {
  if timeout 20 tail --pid="$VM" -f /dev/null; then
    say "  MUST NOT HAPPEN: the box restarts, or ends"
    return 1
  fi
  say "  as expected: $1"
}

# never WHAT PATTERN: must not stand on the console by now.
never() {
  if grep -qaE -- "$2" "$LOG"; then
    say "  MUST NOT HAPPEN: $1: \`$2\` is on the console"
    stop
    return 1
  fi
}
