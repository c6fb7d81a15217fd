"""Telling the user's errors from our own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class UserError(Exception):
    """What the user asked for cannot be done; the message says why and what to do, in one line."""


@contextmanager
def users_fault(*kinds: type[Exception]) -> Iterator[None]:
    """Errors of these `kinds` become a `UserError`: for steps that fail only over what the user gave (a file, a port, an extra)."""
    try:
        yield
    except kinds as error:
        raise UserError(one_line(error)) from error


def one_line(error: Exception) -> str:
    """The message of `error` in one line, with the file's name where the system left it out of the words."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
