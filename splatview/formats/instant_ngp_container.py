"""What is around an Instant-NGP snapshot: gzip (as it writes), zlib, or nothing. With a limit to what is unpacked."""

from __future__ import annotations

import zlib

from splatview.formats.report import Report

_STARTS = b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"  # of gzip and of zlib
_ANY, _GZIP = 15 + 32, 15 + 16  # what zlib is to expect: either of them; to make
_PIECE = 1 << 20  # bytes handed to the codec at once
_SMALL, _RATIO = 1 << 26, 20  # what a file may expand to: 64 MiB, or this many times its size (parameters hardly shrink, empty cells do)


def recognises(head: bytes) -> bool:
    """Whether these are the first bytes of a snapshot, which is a map with an entry 'snapshot' behind short ones."""
    if head.startswith(_STARTS):
        try:
            head = zlib.decompressobj(_ANY).decompress(head, len(head))
        except zlib.error:
            return False
    return (b"\x80" < head[:1] < b"\x90" or head[:1] == b"\xde") and b"\xa8snapshot" in head


def unpack(data: bytes | memoryview, report: Report) -> bytes | memoryview:
    """What is in the file; ValueError if it is damaged, or larger than an honest one."""
    if not bytes(data[:2]).startswith(_STARTS):
        return data
    codec, plain, most = zlib.decompressobj(_ANY), bytearray(), max(_SMALL, _RATIO * len(data))
    try:
        for at in range(0, len(data), _PIECE):
            plain += codec.decompress(data[at : at + _PIECE], most + 1 - len(plain))
            if len(plain) > most:
                raise ValueError(f"ingp: it unpacks to more than {most:,} bytes, which {len(data):,} compressed ones cannot honestly hold")
            report.progress(0.4 * at / len(data), "decompressing")
    except zlib.error as error:
        raise ValueError(f"ingp: the compressed data is damaged: {error}") from None
    if not codec.eof:
        raise ValueError("ingp: the compressed data is cut short")
    return memoryview(plain)


def pack(plain: bytes, report: Report) -> bytes:
    """The file, as gzip."""
    codec, parts = zlib.compressobj(6, zlib.DEFLATED, _GZIP), []
    for at in range(0, len(plain), _PIECE):
        parts.append(codec.compress(plain[at : at + _PIECE]))
        report.progress(0.3 + 0.7 * at / len(plain), "compressing")
    return b"".join([*parts, codec.flush()])
