"""What people are told of a layer."""

from __future__ import annotations

from splatview.gaussians import Gaussians
from splatview.hashgrid import HashGrid


def size_of(content: Gaussians | HashGrid) -> str:
    """How large it is: 1,000 splats."""
    if isinstance(content, HashGrid):
        return f"a field of {content.parameters:,} parameters"
    return f"{len(content):,} splats"


def facts_of(content: Gaussians | HashGrid) -> str:
    """What it is, in a line."""
    if not isinstance(content, HashGrid):
        return f"{size_of(content)}, SH degree {content.sh_degree}, trained for {content.kind} drawing"
    box = " x ".join(f"{edge:g}" for edge in content.box[1] - content.box[0])
    where = "of all space" if content.warp == "contraction" else f"in a box of {box}"
    return f"Hash-grid field {where}: {len(content.levels)} levels, {content.parameters:,} parameters"
