# images/packages.lock: which package files an image is made of; and the archive of those files. Sourced.
# shellcheck shell=bash

# Resolves the recipe's packages anew and writes the lock file.
lock() {
  local arch
  tool_chain
  {
    say "# Package files of the image, resolved by \`scripts/image lock\`: architecture, name, version, sha256, file."
    say "# epoch $(date -u +%s)"
  } > "$OUT/lock.new"
  sources > "$TOOLS/etc/apt/sources.list"
  : > "$TOOLS/empty-status"
  in_tools dpkg --add-architecture arm64
  progress indexes "what the mirrors have today" in_tools apt-get -qq update
  for arch in x86-64 arm64; do
    architecture "$arch"
    progress "$arch" "the packages of the recipe and what they depend on" resolve >> "$OUT/lock.new.$arch"
    grep -v '^[· ]' "$OUT/lock.new.$arch" | LC_ALL=C sort >> "$OUT/lock.new"
    rm "$OUT/lock.new.$arch"
  done
  mv "$OUT/lock.new" "$LOCK"
  say "$LOCK: $(grep -vc '^#' "$LOCK") packages"
}

# One line for each package, as if nothing were installed.
resolve() {
  local -a wanted
  local names
  # shellcheck disable=SC2153 # set by architecture
  mapfile -t wanted < <(entries "$RECIPE/packages.d/all" "$RECIPE/packages.d/$ARCH")
  names=$(in_tools apt-get -s --no-install-recommends -o Dir::State::status=/empty-status -o APT::Architecture="$DEB" \
    -o APT::Architectures="$DEB" install "${wanted[@]}" | sed -n 's/^Inst \([^ ]*\) (\([^ ]*\) .*/\1=\2/p')
  [[ -n "$names" ]] || { say "apt resolves nothing for $ARCH" >&2; return 1; }
  # shellcheck disable=SC2086 # names are words
  in_tools apt-cache -o APT::Architecture="$DEB" -o APT::Architectures="$DEB" show --no-all-versions $names |
    awk -v arch="$ARCH" '
      /^Package: /  { name = $2 }
      /^Version: /  { version = $2 }
      /^Filename: / { n = split($2, part, "/"); file = part[n] }
      /^SHA256: /   { sum = $2 }
      /^$/          { if (name) print arch, name, version, sum, file; name = "" }
      END           { if (name) print arch, name, version, sum, file }'
}

# Every package file of the lock, in the archive and with the right digest.
fetch_packages() {
  local name version sum file
  local -a missing=()
  mkdir -p "$ARCHIVE"
  while read -r _ name version sum file; do
    [[ -e "$ARCHIVE/$file" ]] || missing+=("$name:$DEB=$version")
  done < <(grep "^$ARCH " "$LOCK")
  [[ ${#missing[@]} -eq 0 ]] || download "${missing[@]}"
  grep "^$ARCH " "$LOCK" | while read -r _ name version sum file; do printf '%s  %s\n' "$sum" "$file"; done |
    (cd "$ARCHIVE" && sha256sum --check --quiet --strict)
}

download() {
  sources > "$TOOLS/etc/apt/sources.list"
  in_tools dpkg --add-architecture arm64
  in_tools apt-get -qq update
  mkdir -p "$WORK/archive"
  # shellcheck disable=SC2016 # expanded inside
  in_tools sh -c 'cd /build/archive && apt-get -qq -o APT::Sandbox::User=root download "$@"' sh "$@"
  # apt writes an epoch's colon as %3a, the index does not name it
  find "$WORK/archive" -name '*.deb' | while read -r path; do
    mv "$path" "$ARCHIVE/$(basename "$path" | sed 's/_[0-9]*%3a/_/')"
  done
}
