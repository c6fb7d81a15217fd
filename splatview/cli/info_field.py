"""`splatview info` of a hash-grid field."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from splatview.edit.codec import encode
from splatview.hashgrid import Network
from splatview.scene import Layer


def gather_field(layer: Layer) -> dict[str, Any]:
    """The facts about a field, as JSON holds them; lengths are in its own units, of which one is `unit` scene units."""
    field = layer.field
    march, occupancy = field.marching, field.occupancy
    return {
        "parameters": field.parameters,
        "levels": [
            {"cells": level.scale, "entries": len(level.table), "features": level.table.shape[1], "hashed": not level.resolution}
            for level in field.levels
        ],
        "density": _widths(field.density),
        "colour": _widths(field.colour),
        "box": field.box.tolist(),
        "unit": layer.placement.scale,
        "warp": field.warp,
        "occupancy": None
        if occupancy is None
        else {"cells": list(occupancy.cells.shape[1:]), "occupied": [float(cells.mean()) for cells in occupancy.cells]},
        "marching": {
            "step": march.step,
            "cone": march.cone,
            "longest": march.longest if np.isfinite(march.longest) else None,
            "near": march.near,
            "least_alpha": march.least_alpha,
        },
        "hdr": field.hdr,
        "crop": [encode(cut) for cut in layer.cuts],
        "background": layer.background,
        "exposure": layer.exposure,
        "photographs": 0 if layer.viewpoints is None else len(layer.viewpoints),
    }


def _told(volume: dict[str, Any]) -> str:
    numbers = ", ".join(f"{name} {value}" for name, value in volume.items() if name != "is")
    return f"a {volume['is'].lower()} ({numbers})"


def _widths(network: Network) -> list[int]:
    return [network.inputs, *(len(weight) for weight in network.weights)]


def print_field(name: str, facts: dict[str, Any], notes: Sequence[str]) -> None:
    """Write `gather_field`'s facts for people."""
    levels, march, occupancy = facts["levels"], facts["marching"], facts["occupancy"]
    print(f"\nlayer {name!r}: a hash-grid field of {facts['parameters']:,} parameters")
    for note in notes:
        print(f"  note: {note}")
    print(f"\n  {'level':>5}{'cells':>12}{'entries':>12}{'features':>10}")
    for place, level in enumerate(levels):
        print(f"  {place:>5}{level['cells']:>12.5g}{level['entries']:>12,}{level['features']:>10}{'  hashed' if level['hashed'] else ''}")
    print(f"\n  density network   {' - '.join(map(str, facts['density']))}")
    print(f"  colour network    {' - '.join(map(str, facts['colour']))}{', HDR' if facts['hdr'] else ''}")
    low, high = (f"({', '.join(f'{value:.4g}' for value in corner)})" for corner in facts["box"])
    around = ", and all space around it" if facts["warp"] == "contraction" else ""
    print(f"  box               {low}  to  {high}{around}; a unit is {facts['unit']:.4g} scene units")
    if occupancy is None:
        print("  occupancy         not known")
    else:
        shares = ", ".join(f"{100 * share:.3g} %" for share in occupancy["occupied"])
        print(f"  occupancy         {' x '.join(map(str, occupancy['cells']))} cells, occupied {shares}")
    longest = f" up to {march['longest']:.3g}" if march["longest"] is not None and march["cone"] else ""
    print(f"  steps             {march['step']:.4g}, cone {march['cone']:.3g}{longest}, from {march['near']:g} on")
    own = facts["background"]
    background = "the picture's" if own is None else f"({', '.join(f'{value:.3g}' for value in own)})"
    print(f"  background        {background}")
    print(f"  exposure          {facts['exposure']:g} stops")
    for cut in facts["crop"]:
        print(f"  crop              {'keeps' if cut.get('keeps', True) else 'removes'} what is in {_told(cut['volume'])}")
    if facts["photographs"]:
        print(f"  photographs       {facts['photographs']:,}, one of which says where a view of it begins")
