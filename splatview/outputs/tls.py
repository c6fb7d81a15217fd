"""Serving the page over https."""

from __future__ import annotations

import ssl
from pathlib import Path


def asked(certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """What a server with these PEM files needs; None: without them it speaks http. ValueError if they are no use, or one is lacking."""
    if (certificate is None) != (key is None):
        raise ValueError("TLS certificate and key: expected both or none, got one of them")
    return context(certificate, key) if certificate and key else None


def context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a server with these PEM files needs; ValueError if they are missing, broken, locked or do not belong together."""
    for name, path in (("certificate", certificate), ("key", key)):
        if not path.is_file():
            raise ValueError(f"TLS {name}: expected a PEM file, got {str(path)!r}, which is not a file")
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    asked = []
    try:
        made.load_cert_chain(certificate, key, password=lambda: (asked.append(True), "")[1])  # or OpenSSL would ask on the terminal
    except ssl.SSLError as error:
        if asked:
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
