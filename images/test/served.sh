# A box on its first day: it makes its keys, is certified, and answers a bank's question in a small consortium, whose
# other members are programs on this machine. Sourced.
# shellcheck shell=bash

HERE=10.77.0.1 # this machine, in a network namespace of its own
BASE=21000
NODE=bank-suzhou-1
DEV="$OUT/dev-xinguan" # a development build, for the others

served_tools() {
  need ip iproute2 "a network namespace for the consortium"
  need nmap nmap "looks for open ports"
  need tpm2_clear tpm2-tools "clears a chip"
  install_needed
  cargo build --locked -p xinguan --features dev
  cp "${OUT%/image}/debug/xinguan" "$DEV"
}

in_namespace() { unshare --net -- scripts/image "$1" "$ARCH"; }

served() {
  trap 'stop 2> /dev/null || true; others_end' EXIT
  machine_of
  ip link set lo up
  ip address add "$HERE/32" dev lo
  copy_box served
  # shellcheck disable=SC2034 # read by start
  OUTSIDE=yes
  SOCKETS=$(mktemp -dt xinguan-tpm.XXXXXX)
  OTHERS=()
  make_keys
  consortium
  start boot
  expect "the gateway runs" 'state: data=open configuration=present gateway=running'
  never "keys are made anew" '^.*made   node'
  ready
  expect "it calls itself healthy: its listeners answer" 'health: good, 13 claims hold, [3-9] listeners answer'
  first_question
  stop
}

# First start with a configuration: everything in it is the institution's to know beforehand.
make_keys() {
  # listed with another key first, only for its configuration file
  "$DEV" dev consortium --out "$BOX/draft" --address "$HERE" --base-port $BASE --enterprises 3 > "$BOX/draft.log"
  sed -e "/^\[keystore\]/,/^\[trust\]/{/^\[trust\]/!d}" "$BOX/draft/gateways/$NODE/xinguan.toml" > "$BOX/xinguan.toml"
  cat >> "$BOX/xinguan.toml" << 'TOML'

[keystore]
kind = "tpm2"
path = "/var/lib/xinguan/tpm-keys.json"

[keystore.tpm2]
device = "/dev/tpmrm0"
TOML
  appliance_paths "$BOX/xinguan.toml"
  write_config "$BOX/xinguan.toml"
  start keys
  expect "the chip has made the keys" 'END CERTIFICATE REQUEST'
  # its console has a time before each line
  tr -d '\r' < "$LOG" | sed -n 's/^.*xinguan\[[0-9]*\]: //p' > "$BOX/keys.txt"
  sed -n '/BEGIN CERTIFICATE REQUEST/,/END CERTIFICATE REQUEST/p' "$BOX/keys.txt" > "$BOX/node.csr"
  PIN=$(sed -n 's/^pin *\([0-9a-f]*\)$/\1/p' "$BOX/keys.txt" | head -1)
  [[ -n "$PIN" ]] || { say "no pin on the console"; return 1; }
  stop
}

# The consortium with the box's own key, and the configuration with what came of it.
consortium() {
  local node
  for node in bureau-hangzhou-1 bureau-hefei-1 pboc-shanghai-1 bank-nanjing-1; do
    mkdir -p "$BOX/tpm-$node"
    other "tpm-$node" swtpm socket --tpm2 --tpmstate "dir=$BOX/tpm-$node" --server "type=unixio,path=$SOCKETS/$node.sock" \
      --flags not-need-init,startup-clear
  done
  until_true "the simulated chips" test -S "$SOCKETS/bank-nanjing-1.sock"
  C="$BOX/consortium"
  "$DEV" dev consortium --out "$C" --address "$HERE" --base-port $BASE --enterprises 20 --hsm swtpm --tpm-dir "$SOCKETS" \
    --request "$NODE=$BOX/node.csr" > "$BOX/consortium.log"
  sed "s/^device = \"\/dev\/tpmrm0\"/&\npin = \"$PIN\"/" "$C/gateways/$NODE/xinguan.toml" > "$BOX/xinguan.toml"
  appliance_paths "$BOX/xinguan.toml"
  write_config "$BOX/xinguan.toml" "$C/genesis.json" "$C/pki/man-root.pem" "$C/gateways/$NODE"/{node-ca,inside-root}.pem
  other ledger "$DEV" ledger dev --folder "$C"
  until_true "the ledger" open_port $BASE
  for node in bureau-hangzhou-1 bureau-hefei-1 pboc-shanghai-1; do
    other "$node" "$DEV" run --config "$C/gateways/$node/xinguan.toml"
  done
}

# The demo's paths and addresses, as they are on the appliance.
appliance_paths() {
  sed -i -e 's|"../../genesis.json"|"genesis.json"|; s|"../../pki/man-root.pem"|"man-root.pem"|; s|^data_dir = .*|data_dir = "/var/lib/xinguan/data"|' \
    -e '/^\[listen\.bank\]/,/^\[/s/^address = .*/address = "10.0.2.15:8443"/' \
    -e '/^\[listen\.admin\]/,/^\[/s/^address = .*/address = "10.0.2.15:9000"/' "$1"
}

# write_config FILE…: into the configuration partition, with the two interfaces' addresses.
write_config() {
  local at file
  at="$BOX/disk.raw@@$(partition config)"
  mkdir -p "$BOX/network"
  printf '[Match]\nMACAddress=52:54:00:00:00:01\n[Network]\nAddress=10.0.2.15/24\n' > "$BOX/network/10-inside.network"
  printf '[Match]\nMACAddress=52:54:00:00:00:02\n[Network]\nAddress=10.0.3.15/24\nGateway=10.0.3.2\n' > "$BOX/network/20-man.network"
  mmd -i "$at" ::network 2> /dev/null || true
  mcopy -o -i "$at" "$BOX"/network/*.network ::network/
  for file in "$@"; do mcopy -o -i "$at" "$file" ::; done
}

ready() {
  until_true "the gateway is ready" "$DEV" call --timeout-s 5 --cert "$C/clients/bank-suzhou/operator.pem" \
    --key "$C/clients/bank-suzhou/operator.key" --roots "$C/clients/bank-suzhou/gateway-root.pem" "https://127.0.0.1:$((PORT + 1))/readyz"
}

first_question() {
  local subject id
  subject=$(jq -r '.[0].subject' "$C/enterprises/index.json")
  "$DEV" dev authorize --subject "$subject" --holder bank-suzhou --purposes 01 --dimensions basic,tax,financing \
    --regions 330100,340100 --max-uses 1 --key "$C/enterprises/enterprise-1.key" --chain "$C/enterprises/enterprise-1.pem" \
    --out "$BOX/upload.json" --revocation "$BOX/revocation.json"
  bank "$BOX/authorization.json" -d @"$BOX/upload.json" /v1/authorizations
  id=$(jq -r .authorization_id "$BOX/authorization.json")
  jq -n --arg id "$id" --arg subject "$subject" \
    '{ authorization_id: $id, subject: $subject, purpose: "01", dimensions: ["basic", "tax", "financing"] }' > "$BOX/query.json"
  bank "$BOX/answer.json" -d @"$BOX/query.json" /v1/reports
  "$DEV" verify "$BOX/answer.json" --trust "$C/trust.json"
  "$DEV" show "$BOX/answer.json" | grep -E 'every source answered'
  say "  as expected: the box has answered the first query, and the answer verifies"
}

# bank OUT ARGUMENT… PATH: the bank's credit system asks the box.
bank() {
  local out=$1 path=${*: -1}
  "$DEV" call --timeout-s 60 --cert "$C/clients/bank-suzhou/credit-system.pem" --key "$C/clients/bank-suzhou/credit-system.key" \
    --roots "$C/clients/bank-suzhou/gateway-root.pem" "${@:2:$#-2}" -o "$out" "https://127.0.0.1:$PORT$path" || { cat "$out"; return 1; }
}

# other NAME COMMAND…: one of the other members, ended with the case.
other() {
  local name=$1
  shift
  "$@" > "$BOX/$name.log" 2>&1 < /dev/null &
  OTHERS+=($!)
}

others_end() {
  [[ ${#OTHERS[@]} -eq 0 ]] || kill "${OTHERS[@]}" 2> /dev/null || true
  [[ -z "${SOCKETS:-}" ]] || rm -rf "$SOCKETS"
}

open_port() { (exec 3<> "/dev/tcp/$HERE/$1") 2> /dev/null; }

# until_true WHAT COMMAND…: polls, with the deadline of a boot.
until_true() {
  local what=$1 began=$SECONDS
  shift
  until "$@" > "$BOX/until.log" 2>&1; do
    if [[ $((SECONDS - began)) -gt $BOOT_S ]]; then
      say "  EXPECTED: $what within $BOOT_S s. What was said last:"
      tail -n 5 "$BOX/until.log"
      return 1
    fi
    sleep 0.5
  done
  say "  as expected: $what ($((SECONDS - began)) s)"
}
