"""Draws scenes/styles.jpg: a scene in every style. `python tools/style_sheet.py SCENE [MODEL.onnx ...]`"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np

from splatview import Camera, RenderOptions, load, open_renderer
from splatview.framing import frame_scene
from splatview.stylize import Stylizer
from splatview.stylize.filters import FILTERS
from splatview.stylize.masks import DepthRange, Mask, Masked
from splatview.stylize.onnx_style import Redrawing, open_onnx

SCENES = Path(__file__).parents[1] / "scenes"
TILE, ACROSS, QUALITY = (480, 270), 3, 82
CLOSER = 1.45  # than all of the scene
BEHIND = 1.1  # times the depth in the middle of the picture


def main(scene_file: Path, models: list[Path]) -> None:
    scene = load(scene_file)
    home = frame_scene(scene).camera(1280, 720)
    camera = Camera(home.K * [[CLOSER, 1, 1], [1, CLOSER, 1], [1, 1, 1]], home.camera_from_world, 1280, 720)
    frame = open_renderer("cpu").render(scene, camera, RenderOptions(outputs=("rgb8", "alpha", "depth")))
    behind = BEHIND * float(frame.depth[360, 640])
    styles: dict[str, Stylizer] = {name: kind() for name, kind in FILTERS.items()}
    styles |= {f"onnx: {path.stem}": open_onnx(path, controls=Redrawing(width=480)) for path in models}
    styles["pencil, where it is farther"] = Masked((Mask(DepthRange(near=behind), feather=4), FILTERS["pencil"]()))
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
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
