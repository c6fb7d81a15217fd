"""What a page may name on the server: files and folders below one folder, and nothing else."""

from __future__ import annotations

from pathlib import Path


def below(root: Path | None, named: str) -> Path:
    """The existing file or folder that `named` means, absolute and without links: relative to `root`, or absolute and below it.

    ValueError if it leads out of `root`, also by a link or `..`, does not exist, is no plain file or folder, or if there is no root.
    Whether something exists outside of `root` cannot be learned from the answer.
    """
    if root is None:
        raise ValueError("this viewer opens no files by path: start it with --root FOLDER to allow those below a folder")
    if not named.strip():
        raise ValueError("expected the path of a file, got nothing")
    outside = ValueError(f"expected a file or folder below {root}, got {named!r}")
    try:
        folder = root.resolve()
        path = (folder / named).resolve()
        if not path.is_relative_to(folder):
            raise outside
        if path.is_file() or path.is_dir():
            return path
    except (OSError, RuntimeError):  # a name too long, links in a circle, a folder that is closed to us
        raise outside from None
    except ValueError as error:
        raise error if error is outside else outside from None  # a zero byte in the name
    raise ValueError(f"there is no file or folder {named!r} below {root}")
