# Time from a server that proves who it is; from another, none. Sourced.
# shellcheck shell=bash

# The server is chronyd out of the image's own packages, on this machine, in a network namespace.
time_sync() {
  trap 'stop 2> /dev/null || true; others_end' EXIT
  # shellcheck disable=SC2034 # read by `other` and start
  OTHERS=()
  # shellcheck disable=SC2034
  OUTSIDE=yes
  machine_of
  ip link set lo up
  ip address add "$HERE/32" dev lo
  time_server
  time_box good
  start boot -rtc "base=$(date -u -d '+90 seconds' +%FT%T)"
  expect "the server is believed" "Selected source $HERE"
  expect "the clock is put right" 'System clock was stepped by -(8[5-9]|9[0-9])\.'
  expect "the box is healthy" 'health: good'
  stop
  time_box stranger
  start boot
  expect "the box says that it does not believe the server" 'certificate.*(not trusted|verif|failed)|TLS handshake with .* failed'
  never "it takes its time" 'Selected source|System clock was stepped'
  stop
}

# A root and the server's certificate; and a root of a stranger.
time_server() {
  local at="$BUILD/packages/srv-time" name
  rm -rf "$at"
  mkdir -p "$at"
  for name in good stranger; do
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -subj "/CN=TEST time root $name" \
      -keyout "$at/$name.key" -out "$at/$name.pem" 2> /dev/null
  done
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=$HERE" -keyout "$at/server.key" -out "$at/server.csr" 2> /dev/null
  printf 'subjectAltName=IP:%s\n' "$HERE" > "$at/extensions"
  openssl x509 -req -in "$at/server.csr" -CA "$at/good.pem" -CAkey "$at/good.key" -days 3650 -extfile "$at/extensions" -out "$at/server.pem" 2> /dev/null
  cat > "$at/chrony.conf" << CONF
local stratum 3
allow
cmdport 0
bindcmdaddress /
pidfile /srv-time/pid
ntsdumpdir /srv-time
ntsserverkey /srv-time/server.key
ntsservercert /srv-time/server.pem
CONF
  # it runs as root of its own small world
  printf 'root:x:0:0:root:/:/nonexistent\n' > "$BUILD/packages/etc/passwd"
  BOX="$OUT/test/$ARCH/time-server"
  mkdir -p "$BOX"
  mkdir -p "$BUILD/packages/dev"
  # shellcheck disable=SC2016 # expanded inside
  other chronyd unshare --mount -- bash -ec 'mount --rbind /dev "$0/dev"; exec chroot "$0" "$@"' "$BUILD/packages" \
    /usr/sbin/chronyd -d -x -u root -f /srv-time/chrony.conf
  until_true "the server of time" grep -q 'Running with root' "$BOX/chronyd.log"
  TIME_FILES="$at"
}

# A box whose configuration names the server and this root.
time_box() {
  copy_box "time"
  printf 'server %s nts iburst minpoll 2 maxpoll 4\n' "$HERE" > "$BOX/time.sources"
  cp "$TIME_FILES/$1.pem" "$BOX/time-root.pem"
  write_config "$BOX/time.sources" "$BOX/time-root.pem"
}
