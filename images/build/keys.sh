# Test keys of the image: made once on each machine, never for a real box, never committed. Sourced.
# shellcheck shell=bash

# PK, KEK, db: Secure Boot; verity: the root's signature; pcr: the policy that unlocks the data.
test_keys() {
  local name
  [[ ! -e "$KEYS/complete" ]] || return 0
  rm -rf "$KEYS"
  (umask 077 && mkdir -p "$KEYS")
  for name in PK KEK db verity other; do
    openssl req -x509 -newkey rsa:3072 -sha256 -days 7300 -noenc -subj "/CN=Xinguan TEST $name, never for a real box/" \
      -keyout "$KEYS/$name.key" -out "$KEYS/$name.crt" 2> /dev/null
  done
  openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$KEYS/pcr.key" 2> /dev/null
  openssl pkey -in "$KEYS/pcr.key" -pubout -out "$KEYS/pcr.pem"
  date -u +%FT%TZ > "$KEYS/complete"
}

# Those of the reference manifest, which verifiers pin: one of each scheme, both must sign.
manifest_keys() {
  local curve name
  for curve in P-256 SM2; do
    name="$KEYS/manifest-${curve,,}"
    [[ -e "$name.pub" ]] && continue
    (umask 077 && openssl genpkey -algorithm EC -pkeyopt "ec_paramgen_curve:$curve" -out "$name.key" 2> /dev/null)
    openssl pkey -in "$name.key" -pubout -out "$name.pub"
  done
}

# Where the chroot's programs read them.
lend_keys() {
  mkdir -p "$WORK/keys"
  cp "$KEYS"/* "$WORK/keys/"
}

# Under which our keys stand in the firmware's variables.
OWNER=6c7a6f0e-8d2f-4c0b-9d51-2f6f0b0e9a01

# The emulated firmware's variables with our keys enrolled: Secure Boot is on, and knows nobody else. What is enrolled here is
# what `reference` expects in PCR 7.
firmware_variables() {
  local code=$1 to=$2
  cp "$code" "$WORK/vars.in"
  # the verity certificate in db reaches the kernel's keyring, which checks the root's signature
  in_tools virt-fw-vars --input /build/vars.in --output /build/vars.out --secure-boot \
    --set-pk $OWNER /build/keys/PK.crt --add-kek $OWNER /build/keys/KEK.crt \
    --add-db $OWNER /build/keys/db.crt --add-db $OWNER /build/keys/verity.crt > /dev/null 2>&1
  mv "$WORK/vars.out" "$to"
}
