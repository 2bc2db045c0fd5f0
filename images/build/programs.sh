# The gateway and the image's checks, as they enter the image. Sourced.
# shellcheck shell=bash
#
# They are built on this machine, not in the chroot: the workspace pins a newer Rust than the release has. That is
# sound as long as they ask for no newer C library than the image has, which `fits_library` checks.

programs() {
  local folder="$OUT/cargo" program
  PROGRAMS="$OUT/programs/$ARCH"
  if [[ $ARCH != x86-64 ]]; then
    say "the programs for $ARCH cannot be built here yet: images/README.md, \"Not yet\"" >&2
    return 1
  fi
  ensure_rust
  for program in xinguan image-checks; do # one by one: neither gets features that only the other asks for
    # no path of this machine enters the image
    RUSTFLAGS="--remap-path-prefix=$PWD=/src --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo" CARGO_INCREMENTAL=0 \
      cargo build --locked --release -p "$program" --target-dir "$folder"
  done
  mkdir -p "$PROGRAMS"
  cp "$folder/release/xinguan" "$folder/release/image-checks" "$PROGRAMS/"
  strip "$PROGRAMS"/*
  fits_library "$PROGRAMS"/*
  no_software_keys "$PROGRAMS/xinguan"
}

# The C library's version that a program asks for, against the image's.
fits_library() {
  local asked has program
  has=$(sed -n "s/^$ARCH libc6 \([0-9]*\.[0-9]*\).*/\1/p" "$LOCK")
  for program in "$@"; do
    asked=$(readelf --version-info --wide "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -uV | tail -1)
    at_least "$has" "$asked" || { say "${program##*/} asks for C library $asked, the image has $has: build on an older system" >&2; return 1; }
  done
}

# A development build has another command; a release image must not.
no_software_keys() {
  if "$1" dev --help > /dev/null 2>&1; then
    say "the gateway was built with software keys and the development ledger" >&2
    return 1
  fi
}
