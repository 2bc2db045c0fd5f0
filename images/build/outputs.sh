# What leaves the builder besides the disk: manifest, list of parts, digests. Sourced.
# shellcheck shell=bash

outputs() {
  rm -rf "$IMAGE.new"
  mkdir -p "$IMAGE.new"
  mv "$BUILD/disk.raw" "$IMAGE.new/xinguan-$ARCH.raw"
  cp "$BUILD/uki.efi" "$IMAGE.new/xinguan-$ARCH.efi"
  cp "$(first_pass)" "$IMAGE.new/xinguan-$ARCH.root"
  cp "$(first_pass -verity)" "$IMAGE.new/xinguan-$ARCH.verity"
  cp "$BUILD/disk.json" "$IMAGE.new/partitions.json"
  release > "$IMAGE.new/release.json"
  manifest > "$IMAGE.new/manifest.json"
  reference "$IMAGE.new" "$BUILD/esp/EFI/BOOT/$BOOTNAME"
  parts > "$IMAGE.new/sbom.spdx.json"
  (cd "$IMAGE.new" && sha256sum -- xinguan-* ./*.json > SHA256SUMS)
  (cd "$IMAGE.new" && openssl dgst -sm3 -r xinguan-* ./*.json | sed 's/ \*/  /' > SM3SUMS)
  rm -rf "$IMAGE"
  mv "$IMAGE.new" "$IMAGE"
}

# What was built, of what: for people and for `verify`. What a verifier compares a box with: reference.sh.
manifest() {
  jq -n --arg architecture "$ARCH" --arg kernel "$KERNEL" --arg root "$(< "$BUILD/roothash")" \
    --arg version "$(version)" --arg profile "$IMAGE_PROFILE" \
    --rawfile pcr "$BUILD/pcr11" --rawfile command_line "$BUILD/cmdline" \
    --arg uki "$(unsigned_digest)" --arg initrd "$(sha256sum < "$BUILD/initrd.zst" | cut -d' ' -f1)" \
    --rawfile lock <(grep "^$ARCH " "$LOCK") '{
      format: "xinguan image manifest 1", architecture: $architecture, gateway: $version, profile: $profile, kernel: $kernel,
      root_hash: $root, uki_unsigned_sha256: $uki, initrd_sha256: $initrd,
      pcr: { sha256: { "11": ($pcr | rtrimstr("\n") | split("\n") | last) } },
      pcr_phase: "enter-initrd", command_line: $command_line,
      packages: ($lock | rtrimstr("\n") | split("\n") | map(split(" ") | { name: .[1], version: .[2], sha256: .[3] })) }'
}

# SPDX 2.3: the packages of the lock file and the crates of the gateway.
parts() {
  cargo metadata --locked --format-version 1 > "$BUILD/crates.json"
  jq -n --rawfile lock <(grep "^$ARCH " "$LOCK") --slurpfile crates "$BUILD/crates.json" --arg arch "$ARCH" \
    --arg time "$(date -u --date="@$(epoch)" +%FT%TZ)" --arg root "$(< "$BUILD/roothash")" '
    def id: gsub("[^A-Za-z0-9.-]"; "-");
    ($lock | rtrimstr("\n") | split("\n") | map(split(" ") | {
      SPDXID: ("SPDXRef-deb-" + .[1] | id), name: .[1], versionInfo: .[2], downloadLocation: "NOASSERTION", filesAnalyzed: false,
      packageFileName: .[4], checksums: [{ algorithm: "SHA256", checksumValue: .[3] }] })) as $debs |
    ($crates[0].packages | map({
      SPDXID: ("SPDXRef-crate-" + .name + "-" + .version | id), name: .name, versionInfo: .version,
      downloadLocation: "NOASSERTION", filesAnalyzed: false, licenseDeclared: ((.license // "NOASSERTION") | gsub("/"; " OR ")) })) as $own |
    { spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT", name: ("xinguan-" + $arch),
      documentNamespace: ("urn:xinguan:image:" + $root), creationInfo: { created: $time, creators: ["Tool: scripts/image"] },
      packages: ($debs + $own),
      relationships: (($debs + $own) | map({ spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: .SPDXID })) }'
}

# The kernel image's digest without signatures: neither Secure Boot's nor the PCR policy's, which carry times. Made once more
# rather than stripped: the tools that strip know only this machine's programs.
unsigned_digest() {
  ukify unsigned.efi > /dev/null
  sha256sum < "$BUILD/unsigned.efi" | cut -d' ' -f1
}

# Builds again beside the first one and compares what must be the same.
verify() {
  local key before after different=
  [[ -e "$IMAGE/manifest.json" ]] || build
  before=$(< "$IMAGE/manifest.json")
  build
  after=$(< "$IMAGE/manifest.json")
  for key in root_hash initrd_sha256 uki_unsigned_sha256 command_line; do
    # the signature of the root stands in the command line
    [[ $key != command_line ]] || continue
    if [[ "$(jq -r ".$key" <<< "$before")" == "$(jq -r ".$key" <<< "$after")" ]]; then
      say "the same: $key $(jq -r ".$key" <<< "$after")"
    else
      say "DIFFERENT: $key"
      different=yes
    fi
  done
  [[ -z "$different" ]]
}
