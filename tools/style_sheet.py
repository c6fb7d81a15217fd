"""Draws scenes/styles.jpg: the bundled stage in every style. `python tools/style_sheet.py [MODEL.onnx ...]`"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from splatview import Camera, RenderOptions, load, open_renderer
from splatview.stylize import Stylizer
from splatview.stylize.filters import FILTERS
from splatview.stylize.masks import DepthRange, Mask, Masked
from splatview.stylize.onnx_style import Redrawing, open_onnx

SCENES = Path(__file__).parents[1] / "scenes"
TILE, ACROSS, QUALITY = (480, 270), 3, 82


def main(models: list[Path]) -> None:
    camera = Camera.look_at((5, -8, 2.2), (0, 0, 1.0), (0, 0, 1), 0.75, 1280, 720)
    frame = open_renderer("cpu").render(load(SCENES / "led_stage.spz"), camera, RenderOptions(outputs=("rgb8", "alpha", "depth")))
    styles: dict[str, Stylizer] = {name: kind() for name, kind in FILTERS.items()}
    styles |= {f"onnx: {path.stem}": open_onnx(path, controls=Redrawing(width=480)) for path in models}
    styles["pencil, from 9 m on"] = Masked((Mask(DepthRange(near=9.0), feather=4), FILTERS["pencil"]()))
    tiles = [labelled(picture, name) for name, picture in (("original", frame.rgb8), *((n, s.style(frame)) for n, s in styles.items()))]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % ACROSS)
    sheet = np.vstack([np.hstack(tiles[start : start + ACROSS]) for start in range(0, len(tiles), ACROSS)])
    cv2.imwrite(str(SCENES / "styles.jpg"), sheet[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def labelled(picture: np.ndarray, name: str) -> np.ndarray:
    tile = cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA)
    for colour, width in (((0, 0, 0), 4), ((255, 255, 255), 1)):
        cv2.putText(tile, name, (10, TILE[1] - 12), cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, width, cv2.LINE_AA)
    return tile


if __name__ == "__main__":
    main([Path(name) for name in sys.argv[1:]])
