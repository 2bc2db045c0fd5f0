# How long a box takes to serve, as a ratio to the least that the same kernel takes on the same emulated machine. Sourced.
# shellcheck shell=bash

# The same firmware, boot loader and kernel, and an init that says so and waits.
bare_box() {
  kernel_of_build
  need cc gcc "compiles an init of one line"
  install_needed
  mkdir -p "$BUILD/bare/dev"
  printf '#include <unistd.h>\nint main(void) { write(1, "bare init\\n", 10); for (;;) pause(); }\n' | cc -static -O1 -xc - -o "$BUILD/bare/init"
  pack bare
  in_tools ukify build --linux="/build/$ARCH/packages/boot/vmlinuz-$KERNEL" --initrd="/build/$ARCH/bare.zst" \
    --cmdline="$(cat "$RECIPE/cmdline.d/$ARCH/40-console.conf") loglevel=4" --os-release="@/build/$ARCH/os-release" --uname="$KERNEL" --efi-arch="$EFI" \
    --stub="/build/$ARCH/stub" --signtool=systemd-sbsign --no-sign-kernel --secureboot-private-key=/build/keys/db.key \
    --secureboot-certificate=/build/keys/db.crt --output="/build/$ARCH/bare.efi" > "$BUILD/bare.log" 2>&1
  copy_box bare
  replace_kernel "$BUILD/bare.efi"
}

# timed PATTERN: seconds from power on until the console shows it.
timed() {
  local began=${EPOCHREALTIME/./}
  start bench
  seen "$BOOT_S" "$1" || { say "never seen: $1"; return 1; }
  printf '%d' $(((${EPOCHREALTIME/./} - began) / 1000))
  stop
}

# Both in turn, so that what else the machine does hits both. The box is the one that `served` has left.
boot_bench() {
  local round bare ours at
  vm_tools
  tool_chain
  trap 'stop 2> /dev/null || true' EXIT
  [[ -d "$OUT/test/$ARCH/served" ]] || { say "run scripts/image test $ARCH first: the case \`served\` leaves the box that is measured" >&2; exit 1; }
  bare_box
  for round in 1 2 3; do
    BOX="$OUT/test/$ARCH/bare"
    bare=$(timed 'bare init')
    BOX="$OUT/test/$ARCH/served"
    ours=$(timed 'listening.*8443')
    at=$(grep -ao 'memory: [0-9]* MiB used of [0-9]*' "$BOX/bench.log" || echo "memory: not said yet")
    say "round $round: bare kernel and init $bare ms, until the gateway listens $ours ms, ratio $((ours * 100 / bare)) %; $at"
  done
}
