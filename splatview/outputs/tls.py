"""Serving the page over https."""

from __future__ import annotations

import ssl
from pathlib import Path


def context(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What a server with these PEM files needs; None: without them it speaks http.

    ValueError if one is lacking, or they are missing, broken, locked or do not belong together.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise ValueError("TLS certificate and key: expected both or none, got one of them")
    for name, path in (("certificate", certificate), ("key", key)):
        if not path.is_file():
            raise ValueError(f"TLS {name}: expected a PEM file, got {str(path)!r}, which is not a file")
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    prompts = []
    try:
        made.load_cert_chain(certificate, key, password=lambda: (prompts.append(True), "")[1])  # or OpenSSL would ask on the terminal
    except ssl.SSLError as error:
        if prompts:
            raise ValueError(
                f"TLS key: {key} is locked by a passphrase; expected one without (openssl pkey -in {key} -out open.pem)"
            ) from None
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ValueError(f"TLS: the key {key} does not belong to the certificate {certificate}") from None
        raise ValueError(
            f"TLS: expected a certificate and its key in PEM form in {certificate} and {key} ({error.reason or error})"
        ) from None
    except OSError as error:
        raise ValueError(f"TLS: cannot read {certificate} and {key}: {error.strerror or error}") from None
    return made
