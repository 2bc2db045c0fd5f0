# Power cuts at random moments: the box starts again, with its data. Sourced.
# shellcheck shell=bash

# after SECONDS: the machine runs so long, or until it ends.
after() { timeout "$1" tail --pid="$VM" -f /dev/null || true; }

# A cut in the first boot, which makes the data partition, and one in the next boot.
cut_first_boot() { # SEED
  local seed=$1
  RANDOM=$seed
  say "  seed $seed"
  new_box cut
  start cut
  after $((RANDOM % 110))
  stop
  start again
  after $((RANDOM % 110))
  stop
  start whole
  expect "every claim holds" 'claims: [0-9]+ hold, 0 fail'
  expect "data is open" 'state: data=open'
  stop
}

# A cut while an update is written: the system before it starts, and takes the update.
cut_update() { # SEED
  local seed=$1
  RANDOM=$seed
  say "  seed $seed"
  copy_box cut-update
  release_of newer 9.0.1 2
  stick newer
  with_stick cut
  expect "it is being written" 'writing   9\.0\.1'
  after $((RANDOM % 40))
  stop
  start again
  expect "a system starts, with its data" 'state: data=open'
  stop
  has_way_back
  with_stick retry
  expect "the box is healthy, and has the update or takes it" 'next      xinguan_9\.0\.1_b\+3-0\.efi|slot b    9\.0\.1, good'
  stop
}

has_way_back() { [[ " $(boot_entries) " == *" xinguan_$(this_version)_a.efi "* ]] || { say "  EXPECTED: the entry of the system before"; return 1; }; }

cut_one_of_each() {
  cut_first_boot "${SEED:-$((16#$(openssl rand -hex 2)))}"
  cut_update "${SEED:-$((16#$(openssl rand -hex 2)))}"
}

# scripts/image soak: all random repetitions.
soak() {
  local n
  vm_tools
  tool_chain
  [[ -e "$IMAGE/manifest.json" ]] || build
  trap 'stop 2> /dev/null || true' EXIT
  essential first-boot first_boot
  for ((n = 1; n <= ${1:-30}; n++)); do stage "cuts-$n" cut_one_of_each; done
  finish
}
