# Update bundles out of a built image, signed with test keys. Sourced.
# shellcheck shell=bash

# bundle [VERSION]: what a box that runs an older version takes: images/update/README.md.
bundle() {
  local version=${1:-} to="$IMAGE/bundle" keys="$OUT/keys-update"
  [[ -e "$IMAGE/manifest.json" ]] || build
  [[ -n "$version" ]] || version=$(jq -er .gateway "$IMAGE/manifest.json")
  need openssl openssl "makes test keys"
  need jq jq "reads the manifest"
  install_needed
  ensure_rust
  cargo build --locked -q -p image-update --bins
  update_keys
  rm -rf "$to"
  xinguan_bundle make --version "$version" --architecture "$ARCH" --number 1 --ring 0 \
    --root-image "$IMAGE/xinguan-$ARCH.root" --verity-image "$IMAGE/xinguan-$ARCH.verity" --uki "$IMAGE/xinguan-$ARCH.efi" \
    --trust-root "$keys/root.json" --metadata "$(date +%s)" \
    --release "$keys/release-1.pem" --release "$keys/release-2.pem" \
    --online "$keys/online.pem" --sm2 "$keys/countersign.pem" "$to"
}

xinguan_bundle() { "$(dirname "$OUT")/debug/xinguan-bundle" "$@"; }

# In the folder `keys`: three keys that sign roots, three that sign releases, one that states freshness, one of SM2. Test keys,
# made once, never committed.
update_keys() {
  local name
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
