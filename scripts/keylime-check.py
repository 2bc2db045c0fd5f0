"""A quote's files (gateway/crates/attest/examples/quote_files.rs) through keylime's own check: `keylime-check.py FOLDER`.

Prints what keylime found, exit code 1 if it refused.
"""

import pathlib
import sys

from keylime.tpm import tpm_util

folder = pathlib.Path(sys.argv[1])
read = lambda name: (folder / name).read_bytes()
# keylime takes a nonce of bytes as it is, and text as text or as base64
nonce = bytes.fromhex(read("qualification").decode())
try:
    pcrs = tpm_util.checkquote(
        read("key.pem"), nonce, read("quote.sig"), read("quote.msg"), read("quote.pcrs"), "sha256"
    )
except Exception as refused:  # keylime raises plain exceptions
    print(f"refused: {type(refused).__name__}: {refused}")
    sys.exit(1)
print(f"PCRs {', '.join(str(p) for p in sorted(pcrs))}")
