"""Files that are replaced only when they are complete."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

KEPT = 40  # letters of a name in that of the file beside it: with all of them that might be too long


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place to write to, with the suffix of `path`, that becomes `path` when the block ends; if it fails, nothing is left.

    FileNotFoundError if there is no folder to write in. An OSError that is about that place, or about none, is told as one of `path`.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    part = target.with_name(f".{target.stem[:KEPT]}.{os.getpid()}.{threading.get_ident()}.part{target.suffix}")
    try:
        with suppress(FileNotFoundError):
            target.lstat()  # a name that cannot be is told before the work, not after it
        yield part
        with part.open("rb") as stream:
            os.fsync(stream.fileno())
        part.replace(target)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(part)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):  # of a place where nothing can be written nothing can be taken away either
            part.unlink(missing_ok=True)
