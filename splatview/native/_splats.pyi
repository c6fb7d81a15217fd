"""The native splat renderer. One frame or one packing at a time; both release the GIL."""

import numpy as np
from numpy.typing import NDArray

NO_LIMIT: int  # an overdraw_limit that limits nothing

def footprints_in(
    means: NDArray[np.float32],
    quats: NDArray[np.float32],
    log_scales: NDArray[np.float32],
    opacity_logits: NDArray[np.float32],
    sh: NDArray[np.float32],
    camera_from_layer: NDArray[np.float64],  # [3, 4] a similarity
    intrinsics: list[float],  # fx, fy, cx, cy
    region: NDArray[np.uint8],  # [H, W] 1: in it, 0: not
    near: float,
    far: float,
    antialiased: bool | None,  # None: the centres, else the ellipses as they are drawn
    threads: int,
) -> NDArray[np.uint8]:
    """[N] 1 where a Gaussian lies in a region of a picture, at a depth from `near` to `far`, whatever stands in front; releases the GIL."""

class PackedScene:
    """Gaussians in the renderer's own layout."""

    @property
    def nbytes(self) -> int: ...
    @property
    def stretched(self) -> float:
        """The share of blocks, 0..1, that repacking has made far larger than they were: where it is large, frames take longer."""

class Layer:
    """A packed scene as one frame sees it."""

    def __init__(
        self,
        scene: PackedScene,
        camera_from_layer: NDArray[np.float64],  # [3, 4] a similarity
        sh_degree: int,
        antialiased: bool,
        hidden: NDArray[np.uint8] | None,  # [N] not drawn where not 0
        tinted: NDArray[np.uint8] | None,  # [N]
    ) -> None: ...

class Renderer:
    def __init__(self, simd: str, threads: int) -> None:
        """simd: avx512, avx2, portable, or empty for the fastest that runs here; ValueError for one that does not."""

    def pack(
        self,
        means: NDArray[np.float32],
        quats: NDArray[np.float32],
        log_scales: NDArray[np.float32],
        opacity_logits: NDArray[np.float32],
        sh: NDArray[np.float32],
    ) -> PackedScene: ...
    def repack(
        self,
        parent: PackedScene,
        means: NDArray[np.float32],
        quats: NDArray[np.float32],
        log_scales: NDArray[np.float32],
        opacity_logits: NDArray[np.float32],
        sh: NDArray[np.float32],
        changed: NDArray[np.uint8],  # [N] 0: this row is the parent's
        same_shapes: bool,  # all but the harmonics is the parent's throughout
        same_sh: bool,
    ) -> PackedScene:
        """As `pack`, in the parent's order; what did not change is copied from it, or shared with it."""

    def render(
        self,
        layers: list[Layer],
        intrinsics: list[float],  # fx, fy, cx, cy
        width: int,
        height: int,
        near: float,
        far: float,
        splat_scale: float,
        style: str,  # splats, centres or outlines
        overdraw_limit: int,  # of the Gaussians that meet a tile, the nearest so many are blended
        interrupt: NDArray[np.uint8] | None,
        background: list[float],
        tint: list[float],  # or empty: what is tinted keeps its colour
        outputs: list[str],
        divide: NDArray[np.float32] | None = None,  # [H, W] z; with it none but rgb, alpha and depth may be asked for
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, int]] | None:
        """Pictures, milliseconds by stage and counts; None if it was interrupted.

        With a `divide` there is "front" [H, W, 5], too: colour, alpha and z, weighted, of the Gaussians whose centres are nearer than
        it. The others are then of those behind it, as far as they are seen.
        """

    def contributors(
        self,
        layers: list[Layer],
        intrinsics: list[float],
        width: int,
        height: int,
        near: float,
        far: float,
        splat_scale: float,
        style: str,
        overdraw_limit: int,
        interrupt: NDArray[np.uint8] | None,
        region: NDArray[np.uint8],  # [H, W] 1: in it, 0: not
        least: float,
    ) -> list[NDArray[np.uint8]] | None:
        """By layer [N]: 1 where a Gaussian's weight is at least `least` at a pixel of `region`; None if it was interrupted."""

    def gradient(
        self,
        layer: Layer,  # not antialiased
        means: NDArray[np.float32],  # these: what it was packed from
        quats: NDArray[np.float32],
        log_scales: NDArray[np.float32],
        opacity_logits: NDArray[np.float32],
        sh: NDArray[np.float32],
        camera_from_layer: NDArray[np.float64],  # [3, 4]
        intrinsics: list[float],
        given: NDArray[np.float32],  # [H, W, 5] what r, g, b and alpha are multiplied by, and the sum of that at each pixel
        near: float,
        far: float,
    ) -> NDArray[np.float32]:
        """[N, 13] how the sum of all of `given` grows with the mean, a turn, the log scales, the logit of the opacity and the colour."""

    def tile_lists(self) -> tuple[list[list[tuple[int, int]]], int]:
        """Of the last frame: for each tile, row by row, (layer, id) of its Gaussians front to back; and the tiles across."""

    def set_least_spare(self, nbytes: int) -> None:
        """Let any frame take so many bytes (16 MiB unless told), however small its scene; beyond that it is drawn in strips."""

    @property
    def simd(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def nbytes(self) -> int:
        """Bytes of the buffers kept between frames."""
