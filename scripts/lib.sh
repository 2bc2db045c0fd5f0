# Helpers of the scripts: stages with timing, tools installed only if missing. Sourced, never run.
# shellcheck shell=bash
#
# A script that sources this file stands in the workspace's folder and has:
#   stage NAME COMMAND…      runs it, shows its output and time, counts it; 77 means skipped (see `skip`)
#   essential NAME COMMAND…  the same, but a failure ends the script: what follows could only fail too
#   only NAME…              runs these stages and no others
#   skip REASON              inside a stage: it cannot run here, and why
#   finish                   the table of stages, then `N passed, N failed, N skipped`; exits 1 if any failed
#   need COMMAND PACKAGE WHY notes a missing tool; `install_needed` installs all of them through apt
#   ensure_postgresql WHY    PostgreSQL's server, with nothing of it running
#   ensure_rust              a Rust tool chain of at least the workspace's rust-version

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -n "${HOME:-}" && -d "$HOME/.cargo/bin" ]]; then
  PATH="$PATH:$HOME/.cargo/bin" # rustup's place, which a bare shell does not know
fi
export PATH RUST_BACKTRACE="${RUST_BACKTRACE:-1}" CARGO_NET_RETRY="${CARGO_NET_RETRY:-5}"
if [[ ! -t 1 ]]; then
  export CARGO_TERM_PROGRESS_WHEN=never CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-never}"
fi
if [[ -n "${CI:-}" ]]; then
  export CARGO_INCREMENTAL=0 # built once: saves disk
fi

STAGES=()
PASSED=0
FAILED=0
SKIPPED=0
ONLY=()
NEEDED=()
APT_UPDATED=

say() { printf '%s\n' "$*"; }

skip() {
  say "skipped: $*"
  exit 77 # stages run in a subshell
}

# Names the only stages to run; none = all.
only() { ONLY=("$@"); }

wanted() {
  [[ ${#ONLY[@]} -eq 0 ]] && return 0
  local name
  for name in "${ONLY[@]}"; do [[ "$name" == "$1" ]] && return 0; done
  return 1
}

stage() {
  local name=$1 began=$SECONDS status=0 word
  shift
  wanted "$name" || return 0
  say
  say "── $name: $* ──"
  # not `if ( … )`: bash ignores `set -e` inside a condition
  set +e
  (set -e; "$@")
  status=$?
  set -e
  case $status in
    0) word=passed PASSED=$((PASSED + 1)) ;;
    77) word=skipped SKIPPED=$((SKIPPED + 1)) status=0 ;;
    *) word="FAILED ($status)" FAILED=$((FAILED + 1)) ;;
  esac
  STAGES+=("$(printf '%-16s %-12s %4d s' "$name" "$word" $((SECONDS - began)))")
  say "── ${STAGES[-1]} ──"
  LAST_STATUS=$status
}

essential() {
  LAST_STATUS=0
  stage "$@"
  if [[ $LAST_STATUS -ne 0 ]]; then
    say
    say "$1 failed: what follows needs it and was not run"
    finish
  fi
}

finish() {
  say
  [[ ${#STAGES[@]} -eq 0 ]] || printf '%s\n' "${STAGES[@]}"
  say "total            $SECONDS s"
  say
  say "$PASSED passed, $FAILED failed, $SKIPPED skipped"
  # a misspelt stage name must not look like success
  if [[ $FAILED -gt 0 || $PASSED -eq 0 ]]; then exit 1; fi
  exit 0
}

as_root() {
  if [[ $(id -u) -eq 0 ]]; then
    "$@"
  elif command -v sudo > /dev/null && sudo -n true 2> /dev/null; then
    sudo -n "$@"
  else
    say "needs root: run this as root and start again: $*"
    return 1
  fi
}

apt_update() {
  [[ -n "$APT_UPDATED" ]] && return 0
  as_root apt-get -qq -o Acquire::Retries=3 update
  APT_UPDATED=yes
}

apt_install() {
  if ! command -v apt-get > /dev/null; then
    say "not a Debian system: install these by hand and start again: $*"
    return 1
  fi
  apt_update
  say "installing: $*"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 install --no-install-recommends "$@"
}

need() {
  command -v "$1" > /dev/null && return 0
  say "missing: $1 ($3)"
  NEEDED+=("$2")
}

install_needed() {
  [[ ${#NEEDED[@]} -eq 0 ]] && return 0
  apt_install "${NEEDED[@]}"
  NEEDED=()
}

# PostgreSQL's server, outside the search path. Its package would make and start a cluster of the machine's; the tests
# make their own and stop it.
ensure_postgresql() {
  local settings=/etc/postgresql-common/createcluster.conf status=0
  if compgen -G '/usr/lib/postgresql/*/bin/postgres' > /dev/null; then return 0; fi
  say "missing: postgres ($1)"
  apt_install postgresql-common
  as_root sed -i.before 's/^#*create_main_cluster.*/create_main_cluster = false/' "$settings"
  apt_install postgresql || status=$?
  as_root mv "$settings.before" "$settings"
  return "$status"
}

# The least version of Rust, as the workspace says it.
rust_needed() { sed -n 's/^rust-version *= *"\([0-9.]*\)".*/\1/p' Cargo.toml | head -1; }

rust_found() { rustc --version 2> /dev/null | cut -d' ' -f2 | cut -d- -f1; }

at_least() { [[ -n "$1" && "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -1)" == "$2" ]]; }

ensure_rust() {
  local needed found
  needed=$(rust_needed)
  found=$(rust_found || true)
  if command -v cargo > /dev/null && at_least "$found" "$needed"; then
    say "Rust $found (at least $needed is needed)"
  elif [[ -n "$found" ]] && ! from_debian rustc; then
    say "Rust $found is too old: at least $needed is needed; update your tool chain (for example: rustup update stable)"
    return 1
  else
    rust_from_backports "$needed"
  fi
}

# A tool that a Debian package owns may be replaced by a newer package; another one belongs to somebody.
from_debian() {
  local path
  path=$(command -v "$1") || return 1
  dpkg -S "$(readlink -f "$path")" > /dev/null 2>&1
}

rust_from_backports() {
  local needed=$1 suite found
  suite="$(. /etc/os-release 2> /dev/null && printf '%s' "${VERSION_CODENAME:-unknown}")-backports"
  add_backports "$suite"
  say "installing Rust from $suite"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 -o Acquire::Retries=3 install --no-install-recommends \
    -t "$suite" rustc cargo rustfmt rust-clippy || true
  hash -r
  found=$(rust_found || true)
  if ! at_least "$found" "$needed"; then
    say "Rust ${found:-none} after installing from $suite, but at least $needed is needed:"
    say "install a newer tool chain by rustup and start again"
    return 1
  fi
  say "Rust $found"
}

# The suite of the same mirror that the system already uses.
add_backports() {
  local suite=$1 mirror key
  command -v apt-get > /dev/null || { say "not a Debian system: install Rust by rustup and start again"; return 1; }
  apt_update
  # shellcheck disable=SC2016 # apt's own $(…)
  apt-get indextargets --format '$(RELEASE)' 2> /dev/null | grep -qx "$suite" && return 0
  # shellcheck disable=SC2016
  mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2> /dev/null |
    sed -n "s/^${suite%-backports} //p" | head -1)
  if [[ -z "$mirror" ]]; then
    say "no package mirror for ${suite%-backports} is set up: install Rust by rustup and start again"
    return 1
  fi
  for key in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do [[ -e "$key" ]] && break; done
  say "adding $suite of $mirror"
  printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" "$key" |
    as_root tee /etc/apt/sources.list.d/xinguan-backports.sources > /dev/null
  APT_UPDATED=
  apt_update
}

# rustfmt and clippy come with rustup, or as Debian packages beside Debian's rustc.
ensure_component() {
  local command=$1 package=$2 component=$3
  cargo "$command" --version > /dev/null 2>&1 && return 0
  if command -v rustup > /dev/null; then
    rustup component add "$component" > /dev/null 2>&1 || true
  elif from_debian rustc; then
    local suite
    suite="$(. /etc/os-release && printf '%s' "$VERSION_CODENAME")-backports"
    apt_update
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends -t "$suite" "$package" || true
  fi
  cargo "$command" --version > /dev/null 2>&1
}
