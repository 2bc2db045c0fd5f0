# Programs for another architecture than this machine's: Debian's own cross compilers, in a chroot of their own. Sourced.
# shellcheck shell=bash

CROSS="$OUT/cross"
RUST_TARGET=aarch64-unknown-linux-gnu

# The C library, the linker and Rust's standard library of the other architecture, all of the image's release.
cross_tools() {
  [[ ! -e "$CROSS/made-from" ]] || ! cmp -s "$CROSS/made-from" "$RECIPE/cross.list" || return 0
  progress cross "a chroot with compilers for $DEB, kept for later builds" make_cross
}

make_cross() {
  local main packages
  main=$(sources | sed -n '1s/^deb \([^ ]*\) .*/\1/p')
  packages=$(sed -e 's/#.*//' -e '/^ *$/d' "$RECIPE/cross.list" | paste -sd,)
  rm -rf "$CROSS.new" "$CROSS"
  # backports have the Rust that the workspace pins
  # shellcheck disable=SC2016 # expanded by mmdebstrap
  mmdebstrap --quiet --variant=minbase --architectures=amd64,arm64 --include="$packages" \
    --setup-hook='printf "Package: *rust* *rust*:any cargo\nPin: release n=%s-backports\nPin-Priority: 900\n" '"$SUITE"' > "$1/etc/apt/preferences.d/rust"' \
    "$SUITE" "$CROSS.new" "deb $main $SUITE main" "deb $main $SUITE-backports main"
  cp "$RECIPE/cross.list" "$CROSS.new/made-from"
  mkdir -p "$CROSS.new"/{src,cargo,target}
  mv "$CROSS.new" "$CROSS"
}

# cross_build PACKAGE PROGRAM: into PROGRAMS, without symbols; without a network: the crates are those that this machine's cargo
# has fetched.
cross_build() {
  local folder="$OUT/cargo-$ARCH"
  cargo fetch --locked --quiet
  mkdir -p "$folder"
  # shellcheck disable=SC2016 # expanded inside
  unshare --mount --pid --fork --net -- bash -ec '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    mount --bind -o ro "$1" "$0/src"
    mount --bind "$2" "$0/cargo"
    mount --bind "$3" "$0/target"
    chroot "$0" /usr/bin/env -i PATH=/usr/bin HOME=/root CARGO_HOME=/cargo CARGO_INCREMENTAL=0 \
      CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
      AR_aarch64_unknown_linux_gnu=aarch64-linux-gnu-ar RUSTFLAGS="--remap-path-prefix=/cargo=/cargo" \
      cargo build --offline --locked --profile "$4" --target "$5" -p "$6" --bin "$7" --target-dir /target --manifest-path /src/Cargo.toml
    chroot "$0" /usr/bin/aarch64-linux-gnu-strip -o /target/stripped "/target/$5/$8/$7"
  ' "$CROSS" "$PWD" "${CARGO_HOME:-$HOME/.cargo}" "$folder" "$IMAGE_PROFILE" "$RUST_TARGET" "$1" "$2" "$(profile_folder)"
  install -m 755 "$folder/stripped" "$PROGRAMS/$2"
}
