"""Which splats lie in a region of a picture, whatever stands in front of them: by their centres, or by the ellipses that are drawn."""

from __future__ import annotations

from math import inf

import numpy as np
from numpy.typing import ArrayLike

from splatview.arrays import Bools
from splatview.camera import Camera
from splatview.gaussians import Gaussians
from splatview.geometry import Similarity
from splatview.native import _splats, thread_count


def centres_in(splats: Gaussians, placement: Similarity, camera: Camera, region: ArrayLike, near: float = 0.0, far: float = inf) -> Bools:
    """[N] the splats whose projected centre is on a pixel of `region` [H, W], a mask of `camera`'s picture.

    `placement`: world from layer. `near`, `far`: depths along the view axis, in world units, between which a centre counts, both included;
    nothing behind the camera does. A splat with a number that is not finite is not in. ValueError if `region` has another size.
    """
    return _footprints(splats, placement, camera, region, near, far, None)


def ellipses_in(
    splats: Gaussians,
    placement: Similarity,
    camera: Camera,
    region: ArrayLike,
    near: float = 0.0,
    far: float = inf,
    antialiased: bool | None = None,
) -> Bools:
    """[N] the splats whose projected ellipse covers the centre of a pixel of `region`; otherwise as `centres_in`.

    The ellipse is the one that is drawn: dilated by 0.3 pixels squared, up to where alpha falls to 1/255. `antialiased`: with the opacity
    that makes up for the dilation; None: as the splats were trained.
    """
    return _footprints(splats, placement, camera, region, near, far, splats.kind == "antialiased" if antialiased is None else antialiased)


def _footprints(
    splats: Gaussians, placement: Similarity, camera: Camera, region: ArrayLike, near: float, far: float, antialiased: bool | None
) -> Bools:
    k = camera.K
    found = _splats.footprints_in(
        splats.means,
        splats.quats,
        splats.log_scales,
        splats.opacity_logits,
        splats.sh,
        camera_from_layer=np.ascontiguousarray((camera.camera_from_world @ placement.matrix)[:3]),
        intrinsics=[k[0, 0], k[1, 1], k[0, 2], k[1, 2]],
        region=camera.region(region).view(np.uint8),
        near=near,
        far=far,
        antialiased=antialiased,
        threads=thread_count(),
    )
    return found.view(np.bool_)
