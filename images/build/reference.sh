# The reference manifest: what a box that runs this image measures, signed, as the supervisor's verifier takes it. Sourced.
# shellcheck shell=bash

IMAGE_VALID_DAYS=${IMAGE_VALID_DAYS:-730} # how long verifiers believe the manifest, from the lock's time on

# reference TO LOADER: reference.json and makers.json. Signing is openssl's work over bytes that `input` prints, so that a release
# key can be in any device that openssl's providers, or the device's own tool, reach.
reference() {
  # shellcheck disable=SC2153 # common.sh
  local to=$1 loader=$2 work="$WORK/reference" key
  cargo build --locked -q -p image-manifest
  manifest_keys
  rm -rf "$work"
  mkdir -p "$work"
  image_manifest make --release "$(version)" --number "$(jq -er .number "$to/release.json")" --from "$(epoch)" --days "$IMAGE_VALID_DAYS" \
    --architecture "$ARCH" --root-hash "$(< "$BUILD/roothash")" --pcr11 "$(tail -n 1 "$BUILD/pcr11")" \
    --program "$BUILD/root/usr/bin/xinguan" --loader "$loader" --kernel "$to/xinguan-$ARCH.efi" --owner "$OWNER" \
    --pk "$KEYS/PK.crt" --kek "$KEYS/KEK.crt" --db "$KEYS/db.crt" --db "$KEYS/verity.crt" > "$work/manifest.json"
  image_manifest input "$work/manifest.json" > "$work/input"
  key="$KEYS/manifest-p-256.key"
  openssl dgst -sha256 -sign "$key" -out "$work/p-256.sig" "$work/input"
  key="$KEYS/manifest-sm2.key"
  openssl dgst -sm3 -sigopt distid:1234567812345678 -sign "$key" -out "$work/sm2.sig" "$work/input"
  image_manifest seal "$work/manifest.json" --key "$KEYS/manifest-p-256.pub" --signature "$work/p-256.sig" \
    --key "$KEYS/manifest-sm2.pub" --signature "$work/sm2.sig" > "$to/reference.json"
  image_manifest makers --threshold 2 "$KEYS/manifest-p-256.pub" "$KEYS/manifest-sm2.pub" > "$to/makers.json"
  image_manifest check "$to/reference.json" --makers "$to/makers.json"
}

image_manifest() { "$(dirname "$OUT")/debug/image-manifest" "$@"; }
