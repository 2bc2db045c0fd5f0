# Update bundles out of a built image, signed with test keys. Sourced.
# shellcheck shell=bash

# bundle: what a box that runs an older version takes: images/update/README.md.
bundle() {
  [[ -e "$IMAGE/manifest.json" ]] || build
  need openssl openssl "makes test keys"
  need jq jq "reads the manifest"
  install_needed
  ensure_rust
  update_keys
  make_bundle "$IMAGE/bundle" "$IMAGE/release.json" "$IMAGE/xinguan-$ARCH".{root,verity,efi}
  say "$IMAGE/bundle: $(du -m -s "$IMAGE/bundle" | cut -f1) MB; put it on a stick labelled XINGUAN-UPD, as the folder xinguan-update"
}

# make_bundle TO RELEASE ROOT VERITY KERNEL
make_bundle() {
  local keys=$UPDATE_KEYS to=$1 release=$2
  rm -rf "$to"
  xinguan_bundle make --version "$(jq -er .version "$release")" --architecture "$ARCH" --number "$(jq -er .number "$release")" \
    --ring "$(jq -er .ring "$release")" --root-image "$3" --verity-image "$4" --uki "$5" \
    --trust-root "$keys/root.json" --metadata "$(date +%s)" \
    --release "$keys/release-1.pem" --release "$keys/release-2.pem" \
    --online "$keys/online.pem" --sm2 "$keys/countersign.pem" "$to"
}

# runs here, not in the box: its profile does not matter
xinguan_bundle() {
  cargo build --locked -q -p image-update --bins
  "${OUT%/image}/debug/xinguan-bundle" "$@"
}

# point KEY: an elliptic public key, x then y, in hexadecimal.
point() { openssl pkey -in "$1" -pubout -outform DER | tail -c 64 | od -An -v -tx1 | tr -d ' \n'; }

# In UPDATE_KEYS: three keys that sign roots, three that sign releases, one that states freshness, one of SM2. Test keys,
# made once, never committed.
update_keys() {
  local name keys=$UPDATE_KEYS
  [[ ! -e "$keys/root.json" ]] || return 0
  (umask 077 && mkdir -p "$keys")
  for name in root-{1,2,3} release-{1,2,3} online; do
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$keys/$name.pem" 2> /dev/null
  done
  openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:SM2 -out "$keys/countersign.pem" 2> /dev/null
  xinguan_bundle root --root "$keys/root-1.pem" --root "$keys/root-2.pem" --root "$keys/root-3.pem" \
    --release "$keys/release-1.pem" --release "$keys/release-2.pem" --release "$keys/release-3.pem" \
    --online "$keys/online.pem" "$keys/root.json"
}
