"""Unfinished trainings as a folder: numbers in safetensors, all else in `state.json`. The one file that imports safetensors.

The JSON names the file of the numbers. Both are written beside and renamed, the JSON last: whatever happens, it names a whole file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from splatview.stylize import hub

STATE = "state.json"


def save(folder: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Put both under `folder`, in the place of what was there."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{facts['steps']:09d}.safetensors"
    _put(folder / name, lambda path: save_file({key: value.contiguous() for key, value in tensors.items()}, path))
    _put(folder / STATE, lambda path: path.write_text(json.dumps({**facts, "numbers": name}, indent=2) + "\n"))
    for old in folder.iterdir():
        if old.name not in (name, STATE) and hub.KEPT.fullmatch(old.name):
            old.unlink()


def load(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What was saved last; ValueError if it is damaged, or something else."""
    try:
        facts = json.loads((folder / STATE).read_bytes())
        return load_file(folder / Path(facts["numbers"]).name), facts
    except (ValueError, KeyError, TypeError, OSError, SafetensorError) as error:
        raise ValueError(f"{folder}: expected a checkpoint of splatview distill ({' '.join(str(error).split()):.200})") from None


def remove(folder: Path) -> None:
    """Take it away."""
    (folder / STATE).unlink(missing_ok=True)
    for file in folder.iterdir():
        if hub.KEPT.fullmatch(file.name):
            file.unlink()
    with suppress(OSError):  # somebody else put something there
        folder.rmdir()


@contextmanager
def faults(path: Path) -> Iterator[None]:
    """What safetensors cannot write to `path` is an OSError, as of all else."""
    try:
        yield
    except SafetensorError as error:
        raise OSError(f"{path}: {error}") from error


def _put(path: Path, write: Callable[[Path], Any]) -> None:
    """What `write` writes, whole or not at all."""
    partial = path.with_name(f".{path.name}.part")
    try:
        with faults(path):
            write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
