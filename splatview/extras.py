"""Packages that only some parts need."""

from __future__ import annotations

from importlib.util import find_spec


class MissingExtra(ImportError):
    """Something needs a package that is not installed; the message names the pip line."""


def need(what: str, extra: str, *packages: str) -> None:
    """MissingExtra if one of `packages`, which belong to splatview's `extra`, is not installed; `what` is what needs them."""
    lacking = [package for package in packages if find_spec(package) is None]
    if lacking:
        raise MissingExtra(f"{what} needs {', '.join(lacking)}: pip install 'splatview[{extra}]'")
