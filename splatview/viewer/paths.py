"""What a page may name on the server: files and folders below one folder, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Literal


def below(root: Path | None, named: str) -> Path:
    """The existing file or folder that `named` means, absolute and without links: relative to `root`, or absolute and below it.

    ValueError if it leads out of `root`, also by a link or `..`, does not exist, is no plain file or folder, or if there is no root.
    Whether something exists outside of `root` cannot be learned from the answer.
    """
    if root is None:
        raise ValueError("this viewer opens no files by path: start it with --root FOLDER to allow those below a folder")
    path, kind = _below(root, named)
    if kind == "nothing":
        raise ValueError(f"there is no file or folder {named!r} below {root}")
    return path


def to_write(root: Path | None, named: str, suffix: str = "") -> Path:
    """The file that may be written where `named` says, absolute and without links; `suffix` is added to a name that has another.

    ValueError as for `below`, and if there is a folder in its place or none around it.
    """
    if root is None:
        raise ValueError("this viewer writes no files by path: start it with --root FOLDER to allow those below a folder")
    if not named.lower().endswith(suffix.lower()):
        named += suffix
    path, kind = _below(root, named)
    if kind == "folder" or not path.name:
        raise ValueError(f"expected the name of a file, got that of a folder: {named!r}")
    if kind == "nothing" and _below(root, str(path.parent))[1] != "folder":
        raise ValueError(f"there is no folder {str(Path(named).parent)!r} below {root}")
    return path


def _below(root: Path, named: str) -> tuple[Path, Literal["file", "folder", "nothing"]]:
    """Where `named` is, and what is there; ValueError if that is not below `root`, or neither a plain file nor a folder."""
    if not named.strip():
        raise ValueError("expected the path of a file, got nothing")
    outside = ValueError(f"expected a file or folder below {root}, got {named!r}")
    try:
        folder = root.resolve()
        path = (folder / named).resolve()
        if not path.is_relative_to(folder):
            raise outside
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise outside
        return path, "file" if path.is_file() else "folder" if path.is_dir() else "nothing"
    except (OSError, RuntimeError):  # a name too long, links in a circle, a folder that is closed to us
        raise outside from None
    except ValueError as error:
        raise error if error is outside else outside from None  # a zero byte in the name
