# The gateway, the image's checks, the floor and the updater, as they enter the image. Sourced.
# shellcheck shell=bash
#
# They are built on this machine, not in the chroot: the workspace pins a newer Rust than the release has. That is
# sound as long as they ask for no newer C library than the image has, which `fits_library` checks.

# IMAGE_PROFILE=dev, for a try: not optimized, but mostly built already. The manifest names the profile.
IMAGE_PROFILE=${IMAGE_PROFILE:-release}

programs() {
  local program
  PROGRAMS="$OUT/programs/$ARCH"
  ensure_rust
  mkdir -p "$PROGRAMS"
  # one by one: none gets features that only another asks for
  for program in xinguan image-checks image-floor:xinguan-floor image-update:xinguan-update image-setup:xinguan-setup; do
    if [[ $ARCH == "$(machine)" ]]; then
      native_build "${program%:*}" "${program#*:}"
    else
      cross_tools
      cross_build "${program%:*}" "${program#*:}"
    fi
  done
  fits_library "$PROGRAMS"/*
  no_software_keys
}

# What this machine is, in the image's words.
machine() { if [[ "$(uname -m)" == aarch64 ]]; then printf arm64; else printf x86-64; fi; }

# native_build PACKAGE PROGRAM: into PROGRAMS, without symbols.
native_build() {
  local folder="$OUT/cargo"
  if [[ $IMAGE_PROFILE == dev ]]; then
    folder=${OUT%/image}
  else
    # no path of this machine enters the image
    local -x RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" CARGO_INCREMENTAL=0
  fi
  cargo build --locked --profile "$IMAGE_PROFILE" -p "$1" --bin "$2" --target-dir "$folder"
  strip -o "$PROGRAMS/$2" "$folder/$(profile_folder)/$2"
}

profile_folder() { if [[ $IMAGE_PROFILE == dev ]]; then printf debug; else printf %s "$IMAGE_PROFILE"; fi; }

# The C library's version that a program asks for, against the image's.
fits_library() {
  local asked has program
  has=$(sed -n "s/^$ARCH libc6 \([0-9]*\.[0-9]*\).*/\1/p" "$LOCK")
  for program in "$@"; do
    asked=$(readelf --version-info --wide "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -1)
    at_least "$has" "$asked" || { say "${program##*/} asks for C library $asked, the image has $has: build on an older system" >&2; return 1; }
  done
}

# A development build has another command; a release image must not. Looked for in the file: it may be another machine's.
no_software_keys() {
  if grep -qa 'Development ledger: never for real data' "$PROGRAMS/xinguan"; then
    say "the gateway was built with software keys and the development ledger" >&2
    return 1
  fi
}
