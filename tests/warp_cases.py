"""Pairs of frames between which pictures are carried, and what there is to carry."""

import numpy as np
import numpy_warps
from drawn_planes import Card, drawn, looking

from splatview.frame import Frame
from splatview.stylize.accumulate import History

CARDS = [Card((0, 0, 3), phase=0.4, tilt=0.3), Card((0.1, 0, 1.6), (0.35, 0.3), phase=5.0), Card((-0.4, 0.2, 1.2), (0.1, 0.4), phase=2.0)]


def seen(eye=(0, 0, -1), target=(0, 0, 2), size=(96, 64), depth=True, faint=False):
    """Of things before others and the sky: `faint`, some of what is drawn is less than solid."""
    frame = drawn(looking(eye, target, *size, offset=(3.3, -2.1)), CARDS)
    if not depth:
        return Frame(frame.camera, {"rgb8": frame.rgb8})
    if faint:
        alpha = frame.alpha * np.random.default_rng(3).choice(np.float32([0.04, 0.06, 1]), frame.alpha.shape)
        return Frame(frame.camera, {**frame.images, "alpha": alpha})
    return frame


def any_history(frame: Frame, seed: int = 0) -> History:
    """Of noise as a style, counts of all kinds, and marks that are mostly what is rendered."""
    rng = np.random.default_rng(seed)
    shape = frame.rgb8.shape
    noise = rng.normal(0, 4, shape) + 30 * (rng.uniform(size=shape[:2]) < 0.1)[..., None]
    marks = np.concatenate([frame.rgb8 + noise, numpy_warps.nearness(frame)[..., None]], -1).astype(np.float32)
    average = np.concatenate([rng.uniform(0, 255, shape), rng.uniform(1, 10, (*shape[:2], 1))], -1).astype(np.float32)
    return History(frame.camera, marks, average, average[..., :3].astype(np.uint8))


def any_picture(size, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


VIEWS = {
    "moved": (seen(), seen((0.2, -0.1, -0.8), (0.1, 0, 2))),
    "far": (seen((-0.5, 0, -1)), seen((0.6, 0.2, -0.5), (0, 0.1, 2), faint=True)),
    "behind": (seen((0.05, 0, -0.9)), seen((0, 0, -1), (0.9, 0.05, -0.5))),
    "turned": (seen(), seen((0, 0, -1), (0.4, 0.2, 2))),
    "odd": (seen(size=(33, 70)), seen((0.1, 0, -0.9), size=(41, 57))),
    "wide": (seen(size=(3, 2)), seen((0.1, 0, -0.9), size=(200, 3))),
    "one": (seen(size=(1, 1)), seen((0.05, 0, -0.9), size=(1, 1))),
    "finer": (seen(size=(48, 32)), seen((0.1, 0, -0.9), size=(131, 87))),
    "coarser": (seen(size=(131, 87)), seen((0.1, 0, -0.9), size=(48, 32))),
    "video": (seen(depth=False), seen((0.01, 0, -1), depth=False)),
    "from a video": (seen(depth=False), seen((0.1, 0, -0.9))),
}


def agree(ours, theirs, tolerance):
    """Whether all is the same but for pixels where rounding decides whether a surface is another one."""
    off = np.abs(np.asarray(ours, float) - theirs)
    off = off.reshape(*off.shape[:2], -1).max(-1)
    return np.isfinite(off).all() and (off > tolerance).sum() <= 0.002 * off.size
