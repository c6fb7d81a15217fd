"""Whole files: read with progress, replaced only when complete."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np

from splatview.formats.report import Report

_PIECE = 1 << 26  # bytes


def read_file(path: Path, report: Report) -> memoryview:
    """All bytes of a file. Not memory-mapped: a mapped file that somebody rewrites would kill the process."""
    if path.is_dir():
        raise ValueError(f"{path}: expected a file, this is a folder")
    try:
        stream = path.open("rb", buffering=0)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such file") from None
    with stream:
        size = os.fstat(stream.fileno()).st_size
        data, filled = np.empty(size, np.uint8).data, 0
        while filled < size and (got := stream.readinto(data[filled : filled + _PIECE])):
            filled += got
            report.progress(filled / size, "reading file")
    return data[:filled]


def write_file(path: Path, data: bytes | memoryview, report: Report) -> None:
    """Put `data` under `path`; until all of it is on the disk, what was there stays."""
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    partial = target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with partial.open("wb", buffering=0) as stream:
            for at in range(0, len(data), _PIECE):
                piece = memoryview(data)[at : at + _PIECE]
                while len(piece):
                    piece = piece[stream.write(piece) :]
                report.progress(at / len(data), "writing file")
            os.fsync(stream.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    report.progress(1.0, "saved")
