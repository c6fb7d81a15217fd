"""What each lossy format can say, and how finely; and whether a scene that was read is the true one within those steps."""

import io
from dataclasses import dataclass

import numpy as np
from plyfile import PlyData
from scipy.spatial import cKDTree

from splatview.formats import packing
from splatview.geometry import normalised


@dataclass(frozen=True)
class Space:
    """What a format can say, and how finely: (low, high) limits, and the largest error within them."""

    log_scales: tuple[float, float]
    colours: tuple[float, float]  # DC, 0..1 is displayable
    mean_error: float
    log_scale_error: float
    colour_error: float
    alpha_error: float
    angle_error: float
    sh_errors: tuple[float, ...] = ()  # by degree, from 1
    sh_limit: float = np.inf  # harmonics beyond it are cut


# A smallest-three quaternion with errors up to e in three components turns by at most 2 sqrt(3 + 9) e = 7 e.
TURN = 7
SPZ = Space(
    log_scales=(-10, 5.9375),
    colours=(0.5 - 0.5 / 0.15 * packing.C0, 0.5 + 0.5 / 0.15 * packing.C0),
    mean_error=0.5 / 4096,
    log_scale_error=0.5 / 16,
    colour_error=0.5 / 255 / 0.15 * packing.C0,
    alpha_error=0.5 / 255,
    angle_error=TURN * 0.5 / 511 / 2**0.5,
    sh_errors=(4.5 / 128, 8.5 / 128, 8.5 / 128, 8.5 / 128),  # half a bucket; other writers round to a byte first
    sh_limit=1,
)
SPLAT = Space((float(np.log(1e-30)), 88), (0, 1), 0, 1e-6, 0.5 / 255, 0.5 / 255, 4 * 0.5 / 128)
COMPRESSED = Space((-20, 20), (-1e9, 1e9), 0, 0, 0, 0.5 / 255, TURN * 0.5 * 2**0.5 / 1023, (4.001 / 256,) * 3, 4)
ANY = (-np.inf, np.inf)
EXACT = Space(ANY, ANY, 0, 0, 0, 0, 1e-6, (0,) * 4)  # float32, with logarithms taken on the way
KSPLAT = Space((float(np.log(1e-30)), 88), (0, 1), 0, 0, 0.5 / 255, 0.5 / 255, 1e-6)  # level 0
SLACK = 1e-5  # float32


def angles(a, b):
    """The turn [N] in radians between orientations, the sign of a quaternion aside."""
    one, other = normalised(a.astype(np.float64)), normalised(b.astype(np.float64))
    return 2 * np.arcsin(np.minimum(np.minimum(np.linalg.norm(one - other, axis=1), np.linalg.norm(one + other, axis=1)) / 2, 1))


def check(truth, read, space, means=None, log_scales=None, colours=None, truncates=1):
    """`read` is `truth` within the steps of `space`; errors [N, 3] that depend on the Gaussian may be given instead."""
    error = np.abs(read.means - truth.means.astype(np.float64))
    assert (error <= (space.mean_error if means is None else means) + SLACK * (1 + np.abs(truth.means))).all()
    error = np.abs(read.log_scales - np.clip(truth.log_scales, *space.log_scales))
    assert (error <= (space.log_scale_error if log_scales is None else log_scales) + SLACK * 20).all()
    error = np.abs(read.colours - np.clip(truth.colours, *space.colours))
    assert (error <= truncates * (space.colour_error if colours is None else colours) + SLACK).all()
    assert (np.abs(read.opacities - truth.opacities) <= truncates * space.alpha_error + SLACK).all()
    assert np.isfinite(read.opacity_logits).all()
    assert (angles(truth.quats, read.quats) <= truncates * space.angle_error + SLACK).all()
    for degree in range(1, min(read.sh_degree, len(space.sh_errors)) + 1):
        band = slice(degree**2, (degree + 1) ** 2)
        error = np.abs(read.sh[:, band] - np.clip(truth.sh[:, band], -space.sh_limit, space.sh_limit))
        assert (error <= space.sh_errors[degree - 1] + SLACK).all()


def chunk_errors(data, count):
    """Half steps [N, 3] of means, log scales and colours that the chunks of a compressed ply [bytes] allow, read by plyfile."""
    rows = PlyData.read(io.BytesIO(bytes(data)))["chunk"]
    chunk, steps = np.arange(count) // 256, np.array([2047, 1023, 2047])
    names = [("x", "y", "z"), ("scale_x", "scale_y", "scale_z"), ("r", "g", "b")]
    spans = [np.stack([rows[f"max_{n}"] - rows[f"min_{n}"] for n in part], 1)[chunk] for part in names]
    return spans[0] / steps / 2, spans[1] / steps / 2, spans[2] / 255 / 2


def half_errors(scales):
    """What cutting `scales` off to half floats may do to their logarithms."""
    step = np.maximum(scales * 2.0**-10, 2.0**-24)
    return np.where(scales > step, -np.log1p(-np.where(scales > step, step / scales, 0)), np.inf)


def nearest(book, values):
    """The entry of `book` [K] next to each of `values` [...]."""
    book = np.sort(np.asarray(book))
    above = np.clip(np.searchsorted(book, values), 1, len(book) - 1)
    return np.where(np.abs(book[above - 1] - values) <= np.abs(book[above] - values), book[above - 1], book[above])


def matched(read, truth):
    """`truth` in the order of `read`: the nearest in place, size and colour together; every Gaussian is used once."""

    def place(splats):
        colours, sizes = np.clip(splats.colours, 0, 1), np.clip(splats.log_scales, -9.5, 2)
        return np.concatenate([splats.means * 20, sizes, colours * 5, splats.opacities[:, None]], 1)

    _, index = cKDTree(place(truth)).query(place(read))
    assert len(np.unique(index)) == len(truth) == len(read)
    return truth.take(index)
