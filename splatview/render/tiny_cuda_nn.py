"""Whether tiny-cuda-nn is here, and is to have the networks of fields. It is on no package index, and no extra has it."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

INSTALL = "pip install git+https://github.com/NVlabs/tiny-cuda-nn/#subdirectory=bindings/torch"
VARIABLE = "SPLATVIEW_NETWORKS"
WISHES = "auto", "tiny-cuda-nn", "triton"


def find(wish: str | None = None) -> tuple[Any, str]:
    """The module `tinycudann` if it is to be used, else None; and what there is to say of that.

    `wish`: one of WISHES, $SPLATVIEW_NETWORKS if None. ValueError if it cannot be fulfilled.
    """
    wish = wish or os.environ.get(VARIABLE) or "auto"
    if wish not in WISHES:
        raise ValueError(f"{VARIABLE}: expected {', '.join(WISHES[:-1])} or {WISHES[-1]}, got {wish!r}")
    if wish == "triton":
        return None, f"not used, as {VARIABLE} says: Triton kernels of our own have the networks of fields"
    module, found = _imported()
    if module is None and wish == "tiny-cuda-nn":
        raise ValueError(f"{VARIABLE}=tiny-cuda-nn: tiny-cuda-nn is {found}; {INSTALL}")
    if module is None:
        return None, f"{found}: Triton kernels of our own have the networks of fields ({INSTALL})"
    return module, f"{found}, in use: it has the networks of fields that are laid out as its own, Triton kernels of ours the others"


def _imported() -> tuple[Any, str]:
    if find_spec("tinycudann") is None:
        return None, "not installed"
    try:
        import tinycudann  # pyright: ignore[reportMissingImports]
    except Exception as error:  # it looks for a GPU, and for its own kernels for it
        return None, f"installed, and does not start ({' '.join(str(error).split())[:200]})"
    try:
        return tinycudann, version("tinycudann")
    except PackageNotFoundError:  # a folder on the path
        return tinycudann, "version unknown"
