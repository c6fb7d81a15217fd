"""Unfinished trainings on the disk: the last one stays whole while the next is written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch


def save(state: dict[str, Any], path: Path) -> None:
    """Put `state` under `path`; until all of it is on the disk, what was there stays."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> dict[str, Any]:
    """What was saved there; ValueError if it is damaged, or something else. Nothing in it is executed."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # of zip, pickle and torch, each with errors of its own
        raise ValueError(f"{path}: expected a checkpoint of splatview fit ({' '.join(str(error).split())[:200]})") from None
    if not isinstance(state, dict) or "recipe" not in state:
        raise ValueError(f"{path}: expected a checkpoint of splatview fit, found something else")
    return state
