# A box without a configuration: its questions are answered at its keyboard, then a supervisor's stick goes in. Sourced.
# shellcheck shell=bash

# The case: three starts, from nothing to a box whose chip has made its keys. Needs served_tools (a development build).
first_questions() {
  new_box questions
  provisioning_stick
  start_with_keyboard ask
  expect "the questions are asked on the serial console too" '1/7 Language'
  answer 2 '2/7 Inside'
  answer '1 10.0.2.15/24' '3/7 MAN'
  answer '1 10.0.3.15/24 10.0.3.2' 'x the same card as the inside'
  answer '2 10.0.3.15/24 10.0.3.2' '4/7 Time servers'
  answer 10.0.3.2 '5/7 Institution/node'
  answer bank-suzhou/bank-suzhou-1 '6/7 Enrolment code'
  answer "$CODE" '7/7 Write this and restart'
  answer yes 'the answers are written; the box restarts'
  ended "the box restarts by itself"
  stop
  start stick -device qemu-xhci -drive "if=none,id=stick,format=raw,file=$BOX/stick.raw" -device usb-storage,drive=stick
  expect "the stick's file is taken" 'provisioning: number 1 is in place'
  ended "the box restarts by itself"
  stop
  start keys -device qemu-xhci -drive "if=none,id=stick,format=raw,file=$BOX/stick.raw" -device usb-storage,drive=stick
  expect "the chip has made the keys" 'END CERTIFICATE REQUEST'
  expect "the same file is not taken twice" 'this file was taken before'
  never "it restarts again and again" 'number 1 is in place'
  stop
}

# A signer, its code, and its file for any box of the institution, on a FAT stick.
provisioning_stick() {
  local setup="${OUT%/image}/debug/xinguan-setup"
  cargo build --locked -p image-setup
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$BOX/signer.pem" 2> /dev/null
  CODE=$("$setup" provision code "$BOX/signer.pem" | sed -n 1p)
  CODE=${CODE,,} # as people type
  "$DEV" dev consortium --out "$BOX/draft" --address "$HERE" --base-port "$BASE" --enterprises 3 > "$BOX/draft.log"
  mkdir -p "$BOX/bundle"
  # shellcheck disable=SC2153 # NODE is of served.sh
  sed -e "/^\[keystore\]/,/^\[trust\]/{/^\[trust\]/!d}" "$BOX/draft/gateways/$NODE/xinguan.toml" > "$BOX/bundle/xinguan.toml"
  printf '\n[keystore]\nkind = "tpm2"\npath = "/var/lib/xinguan/tpm-keys.json"\n[keystore.tpm2]\ndevice = "/dev/tpmrm0"\n' >> "$BOX/bundle/xinguan.toml"
  appliance_paths "$BOX/bundle/xinguan.toml"
  "$setup" provision make "$BOX/bundle" --institution bank-suzhou --number 1 --key "$BOX/signer.pem" --out "$BOX/xinguan.provision"
  truncate -s 64M "$BOX/stick.raw"
  mformat -i "$BOX/stick.raw" -F -v XINGUAN-IN ::
  mcopy -i "$BOX/stick.raw" "$BOX/xinguan.provision" ::
}

# start_with_keyboard NAME: as start, with a monitor that presses keys.
start_with_keyboard() {
  mkfifo "$BOX/monitor.in" "$BOX/monitor.out"
  start "$1" -chardev "pipe,id=monitor,path=$BOX/monitor" -monitor chardev:monitor
  cat "$BOX/monitor.out" > "$BOX/monitor.log" & # ends with the machine
}

# answer LINE PATTERN: typed at the screen's keyboard; what the console then shows.
answer() {
  local n c
  for ((n = 0; n < ${#1}; n++)); do
    c=${1:n:1}
    case $c in
      ' ') c=spc ;;
      .) c='dot' ;;
      /) c=slash ;;
      -) c=minus ;;
    esac
    printf 'sendkey %s\n' "$c" > "$BOX/monitor.in"
  done
  printf 'sendkey ret\n' > "$BOX/monitor.in"
  expect "after \`$1\`" "$2"
}
