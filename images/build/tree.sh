# Folder trees of root and initrd: only what the recipe lists, and the libraries that it links. Sourced.
# shellcheck shell=bash

# Package files, unpacked without running anything of theirs; kept as long as the lock is the same.
unpack() {
  local file packages="$BUILD/packages"
  find "$BUILD" -mindepth 1 -maxdepth 1 ! -name packages ! -name made-from -exec rm -rf {} + 2> /dev/null || true
  if ! cmp -s "$LOCK" "$BUILD/made-from"; then
    rm -rf "$packages"
    mkdir -p "$packages"
    while read -r _ _ _ _ file; do
      dpkg-deb --fsys-tarfile "$ARCHIVE/$file" | tar -x -C "$packages" --exclude=./usr/share/{doc,man,locale,info,lintian}
    done < <(grep "^$ARCH " "$LOCK")
    in_tools depmod -b "/build/$ARCH/packages" "$(basename "$packages"/usr/lib/modules/*)"
    cp "$LOCK" "$BUILD/made-from"
  fi
  KERNEL=$(basename "$packages"/usr/lib/modules/*)
}

# tree NAME: root or initrd, from its lists, its own files and its modules.
tree() {
  local name=$1 to="$BUILD/$1" word rest
  mkdir -p "$to"/{dev,proc,sys,run,tmp,etc,usr/{bin,sbin,lib,lib64},var/{lib,log,tmp,cache}}
  for word in bin sbin lib lib64; do ln -s "usr/$word" "$to/$word"; done
  ln -s ../run "$to/var/run"
  while read -r word rest; do
    # shellcheck disable=SC2086 # a list of targets
    if [[ $word == unit ]]; then unit $rest; else copy "$word"; fi
  done < <(entries "$RECIPE/$name.d")
  cp -r "$RECIPE/$name/." "$to/"
  [[ ! -d "$RECIPE/$name-$ARCH" ]] || cp -r "$RECIPE/$name-$ARCH/." "$to/"
  ln -sf ../usr/lib/os-release "$to/etc/os-release"
  : > "$to/etc/machine-id"
  modules
  "finish_$name"
  copy "$LOADER"
  libraries
  find "$to" -type f -perm /6000 -exec chmod u-s,g-s {} +
  chmod -R u=rwX,go=rX "$to"
  chmod 1777 "$to"/{tmp,var/tmp}
}

# copy PATTERN: files of the packages; a link takes along what it points to.
copy() {
  local path link found=
  while read -r path; do
    found=yes
    mkdir -p "$to/$(dirname "$path")"
    [[ -e "$to/$path" || -L "$to/$path" ]] || cp -dr --preserve=mode,timestamps "$BUILD/packages/$path" "$to/$path"
    if [[ -L "$BUILD/packages/$path" ]]; then
      link=$(realpath -s -m --relative-to=/ "/$(dirname "$path")/$(readlink "$BUILD/packages/$path")")
      copy "${link/#lib\//usr\/lib/}"
    fi
  done < <(cd "$BUILD/packages" || exit; compgen -G "$1")
  [[ -n "$found" ]] || { say "$1 is in no package of $LOCK: correct the recipe, or lock again" >&2; return 1; }
}

# unit NAME TARGET…: from the packages, or from the recipe's own files; wanted by these targets.
unit() {
  local name=$1 target folder=usr/lib/systemd/system
  shift
  [[ -e "$RECIPE/${to##*/}/$folder/$name" ]] || copy "$folder/$name"
  for target in "$@"; do
    mkdir -p "$to/$folder/$target.wants"
    ln -sf "../$name" "$to/$folder/$target.wants/$name"
  done
}

# Kernel modules by allow-list, with those that they need.
modules() {
  local -a wanted
  local path
  mapfile -t wanted < <(entries "$RECIPE/modules.d/$name/all" "$RECIPE/modules.d/$name/$ARCH")
  mkdir -p "$to/usr/lib/modules/$KERNEL"
  in_tools modprobe -d "/build/$ARCH/packages" -S "$KERNEL" --all --show-depends "${wanted[@]}" > "$BUILD/$name.modules"
  sed -n "s|^insmod /build/$ARCH/packages/*||p" "$BUILD/$name.modules" | awk '{ print $1 }' | sed 's|^lib/|usr/lib/|' | LC_ALL=C sort -u |
    while read -r path; do
      mkdir -p "$to/$(dirname "$path")"
      cp --preserve=mode,timestamps "$BUILD/packages/$path" "$to/$path"
    done
  cp "$BUILD/packages/usr/lib/modules/$KERNEL"/modules.{order,builtin,builtin.modinfo} "$to/usr/lib/modules/$KERNEL/"
  in_tools depmod -b "/build/$ARCH/$name" "$KERNEL"
}

finish_root() {
  local program
  mkdir -p "$to"/{config,efi,var/lib/xinguan,usr/lib/xinguan}
  ln -sf multi-user.target "$to/usr/lib/systemd/system/default.target"
  install -m 755 "$PROGRAMS/xinguan" "$to/usr/bin/xinguan"
  for program in image-checks xinguan-update xinguan-setup; do install -m 755 "$PROGRAMS/$program" "$to/usr/lib/xinguan/$program"; done
  release > "$to/usr/lib/xinguan/release.json"
  update_keys
  cp "$UPDATE_KEYS/root.json" "$to/usr/lib/xinguan/update-root.json"
  {
    printf 'sm2 = "%s"\n' "$(point "$UPDATE_KEYS/countersign.pem")"
    slots
  } >> "$to/usr/lib/xinguan/update.toml"
}

slots() {
  local slot
  for slot in a b; do
    printf '[slots.%s]\nroot = "/dev/disk/by-partlabel/root-%s"\nverity = "/dev/disk/by-partlabel/verity-%s"\n' $slot $slot $slot
  done
}

finish_initrd() {
  mkdir -p "$to"/{sysroot,usr/lib/xinguan}
  install -m 755 "$PROGRAMS/xinguan-floor" "$to/usr/lib/xinguan/xinguan-floor"
  release > "$to/usr/lib/xinguan/release.json"
  ln -sf ../usr/lib/os-release "$to/etc/initrd-release"
  ln -sf initrd.target "$to/usr/lib/systemd/system/default.target"
  ln -sf usr/lib/systemd/systemd "$to/init"
}

# Adds what the programs link, and what that links, until nothing is missing.
libraries() {
  local -a missing
  local library folder
  for _ in 1 2 3 4 5 6 7 8; do
    mapfile -t missing < <(comm -23 <(needed | LC_ALL=C sort -u) <(find "$to/usr/lib" -name '*.so*' -printf '%f\n' | LC_ALL=C sort -u))
    [[ ${#missing[@]} -gt 0 ]] || return 0
    for library in "${missing[@]}"; do
      for folder in "usr/lib/$TRIPLET" "usr/lib/$TRIPLET/systemd" usr/lib/systemd usr/lib64 ""; do
        [[ -n "$folder" ]] || { say "no package has $library, which ${to##*/} needs" >&2; return 1; }
        [[ -e "$BUILD/packages/$folder/$library" || -L "$BUILD/packages/$folder/$library" ]] || continue
        copy "$folder/$library"
        break
      done
    done
  done
  say "libraries of ${to##*/} need ever more libraries" >&2
  return 1
}

# The libraries that the ELF files of the tree name.
needed() {
  find "$to/usr" -type f \( -perm /111 -o -name '*.so*' \) ! -name '*.ko*' -print0 |
    xargs -0 readelf --dynamic 2> /dev/null | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'
}
