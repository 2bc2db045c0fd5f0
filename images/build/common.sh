# Paths, architectures and the tool-chain chroot of the image's builder. Sourced by scripts/image.
# shellcheck shell=bash
# shellcheck disable=SC2034 # the other parts use these names

SUITE=trixie
RECIPE=images/recipe
LOCK=images/packages.lock
OUT="$(realpath -m -- "${CARGO_TARGET_DIR:-target}")/image"
TOOLS="$OUT/tools"     # chroot: programs that build the image, of the release that the image is made of
ARCHIVE="$OUT/archive" # every package file that an image was made of: mirrors drop old versions
KEYS="$OUT/keys"       # test keys, made at the first build; never committed
UPDATE_KEYS="$OUT/keys-update" # likewise: what signs updates
WORK="$TOOLS/build"     # seen as /build inside the chroot

# What each architecture is called by others.
architecture() {
  ARCH=$1
  case $ARCH in
    x86-64) DEB=amd64 TRIPLET=x86_64-linux-gnu EFI=x64 BOOTNAME=BOOTX64.EFI LOADER=usr/lib64/ld-linux-x86-64.so.2 ;;
    arm64) DEB=arm64 TRIPLET=aarch64-linux-gnu EFI=aa64 BOOTNAME=BOOTAA64.EFI LOADER=usr/lib/ld-linux-aarch64.so.1 ;;
    *) say "unknown architecture \`$ARCH\`: x86-64 or arm64" >&2; exit 2 ;;
  esac
  IMAGE="$OUT/$ARCH"
  BUILD="$WORK/$ARCH"
}

# progress WHAT WHY COMMAND…: says what is done and why, then how long it took.
progress() {
  local what=$1 why=$2 began=$SECONDS
  shift 2
  printf '· %-14s %s\n' "$what" "$why"
  "$@"
  printf '  %-14s %d s\n' "" $((SECONDS - began))
}

# The lines of a list's drop-ins, without comments: entries FOLDER…
entries() {
  local folder
  for folder in "$@"; do
    sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' "$folder"/*.list
  done
}

# Runs a program of the tool chain. The mounts live and end in a namespace of their own.
in_tools() {
  # shellcheck disable=SC2016 # expanded inside
  unshare --mount --pid --fork -- bash -ec '
    mount -t proc proc "$0/proc"
    mount --rbind /dev "$0/dev"
    exec chroot "$0" /usr/bin/env -i PATH=/usr/sbin:/usr/bin LC_ALL=C.UTF-8 HOME=/root TMPDIR=/tmp SOURCE_DATE_EPOCH="$1" "${@:2}"
  ' "$TOOLS" "$(epoch)" "$@"
}

# The time that all files of an image carry: when its packages were locked.
epoch() { sed -n 's/^# epoch \([0-9]*\)$/\1/p' "$LOCK" 2> /dev/null | grep . || echo 0; }

# mirror SUITE: the address that this system's own apt uses for a suite.
mirror() {
  # shellcheck disable=SC2016 # apt's own $(…)
  apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null | sed -n "s/^$1 //p" | head -1
}

# The suites that the image's packages come from, on this system's own mirrors.
sources() {
  local here main security
  here=$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")
  main=$(mirror "$here")
  security=$(mirror "$here-security")
  [[ -n "$main" ]] || { apt_update; main=$(mirror "$here") security=$(mirror "$here-security"); }
  [[ -n "$main" ]] || { say "apt knows no Debian mirror here: add one to its sources" >&2; return 1; }
  say "deb $main $SUITE main"
  say "deb $main $SUITE-updates main"
  [[ -z "$security" ]] || say "deb $security $SUITE-security main"
}

tool_chain() {
  need mmdebstrap mmdebstrap "makes the chroot of build tools"
  need openssl openssl "makes test keys"
  need jq jq "writes the manifest"
  install_needed
  [[ ! -e "$TOOLS/made-from" ]] || ! cmp -s "$TOOLS/made-from" "$RECIPE/tools.list" || return 0
  progress tools "a chroot of $SUITE's own build tools, kept for later builds" make_tools
}

make_tools() {
  local main packages
  main=$(sources | sed -n '1s/^deb \([^ ]*\) .*/\1/p')
  packages=$(sed -e 's/#.*//' -e '/^ *$/d' "$RECIPE/tools.list" | paste -sd,)
  mkdir -p "$OUT"
  rm -rf "$TOOLS.new" "$TOOLS"
  mmdebstrap --quiet --variant=minbase --include="$packages" "$SUITE" "$TOOLS.new" "$main"
  cp "$RECIPE/tools.list" "$TOOLS.new/made-from"
  mkdir -p "$TOOLS.new/build"
  mv "$TOOLS.new" "$TOOLS"
}
