"""The CUDA backend: gsplat's kernels draw the picture, a Triton pass of ours tells what they do not.

The image formation is the one of `tests/numpy_renderer.py`, whose numbers are gsplat's own: a dilation of 0.3 pixels squared, alpha from
1/255 to 0.999, an end at a transmittance of 1e-4, a linearisation that stops 15 % outside the picture.
`RenderOptions.overdraw_limit` is not heeded: it bounds the time of machines without a GPU.
"""

from __future__ import annotations

import os
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from splatview.arrays import Bools, Ints
from splatview.camera import Camera
from splatview.frame import Frame, Interrupt, Interrupted, Masks, RenderOptions, share
from splatview.gaussians import Gaussians
from splatview.scene import Layer, Scene

TILE = 16  # pixels a side
SMALLEST_OPACITY = 1 / 255
CENTRE_OPACITY, CENTRE_CONIC, CENTRE_RADIUS = 0.95, (2.0, 0.0, 2.0), 3  # a variance of 0.5 pixels squared, seen up to 2.34 pixels away
COLOUR, PICTURE, CONTRIBUTIONS = {"rgb", "rgb8"}, {"rgb", "rgb8", "alpha", "depth"}, {"ids", "median_depth", "overdraw", "coverage"}


@dataclass(frozen=True)
class Ops:
    """The stages of a frame, called as gsplat 1.5 calls them: C cameras, N Gaussians, M pairs of a Gaussian and a tile."""

    project: Callable[..., tuple[Tensor, ...]]  # radii [C, N, 2], means [C, N, 2], depths [C, N], conics [C, N, 3], compensations [C, N]
    evaluate: Callable[..., Tensor]  # the harmonics: degree, directions [N, 3], coefficients [N, K, 3], mask [N] -> [N, 3]
    intersect: Callable[..., tuple[Tensor, Tensor, Tensor]]  # tiles per Gaussian [C, N], pairs [M], the Gaussian of each pair [M]
    offsets: Callable[..., Tensor]  # where each tile's list begins [C, down, across]
    rasterise: Callable[..., tuple[Tensor, Tensor]]  # features [C, H, W, F] over the background, alpha [C, H, W, 1]
    contributions: Callable[..., Any]  # splatview.render.contributions.Contributions
    seen_in: Callable[..., Tensor]  # [N] uint8: who weighs enough in a region


def gsplat_ops() -> Ops:
    """gsplat's kernels and our own; ImportError if gsplat or Triton is not installed."""
    # gsplat's kernels are compiled at their first use by the `ninja` that came with it; a virtual environment that is used without
    # being activated (.venv/bin/splatview) has it beside Python and not on the path.
    folder, path = str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)
    if folder not in path.split(os.pathsep):
        os.environ["PATH"] = path + os.pathsep + folder
    import gsplat

    from splatview.render.contributions import contributions, seen_in

    return Ops(
        gsplat.fully_fused_projection,
        gsplat.spherical_harmonics,
        gsplat.isect_tiles,
        gsplat.isect_offset_encode,
        gsplat.rasterize_to_pixels,
        contributions,
        seen_in,
    )


def torch_state() -> tuple[str | None, int | None]:
    """The CUDA version that this PyTorch is built for, if any, and the bytes of memory of the GPU that it sees, if it sees one."""
    seen = torch.cuda.is_available()
    return torch.version.cuda, torch.cuda.get_device_properties(0).total_memory if seen else None


def jpeg_encoder() -> Callable[..., Tensor] | None:
    """torchvision's encoder, which takes pictures on the GPU; None where it is not installed or does not load."""
    try:
        from torchvision.io import encode_jpeg  # pyright: ignore[reportMissingImports]
    except (ImportError, RuntimeError):  # RuntimeError: built for another torch
        return None
    return encode_jpeg


@dataclass(frozen=True, eq=False)
class Resident:
    """A layer's Gaussians on the device: those whose numbers are finite."""

    index: Tensor  # [N] int32, place of each in the layer
    means: Tensor  # [N, 3]
    quats: Tensor  # [N, 4] of length 1
    scales: Tensor  # [N, 3] standard deviations
    opacities: Tensor  # [N]
    sh: Tensor  # [N, K, 3]
    masks: dict[int, tuple[weakref.ref[Bools], Tensor]] = field(default_factory=dict)  # by the id of the array they came from

    @staticmethod
    def upload(splats: Gaussians, device: torch.device, rows: Ints | None = None) -> Resident:
        """`splats`, or some `rows` of them, on the device; as in the specification, one with a number that is not finite is left out."""
        arrays = splats.means, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh
        tensors = [torch.tensor(array if rows is None else array[rows], device=device) for array in arrays]
        means, quats, log_scales, logits, sh = tensors
        healthy = ~torch.isnan(logits)  # an infinite one is opaque or clear
        for tensor in (means, quats, log_scales, sh):
            healthy &= torch.isfinite(tensor).flatten(1).all(1)
        index = torch.nonzero(healthy)[:, 0]
        if len(index) < len(healthy):
            means, quats, log_scales, logits, sh = (tensor[index] for tensor in tensors)
        quats = quats.double()  # the square of a length may be too large or too small for a float
        quats[:, 0] += ~quats.any(1)  # a quaternion of zeros turns nothing
        quats = (quats / quats.norm(dim=1, keepdim=True)).float()
        return Resident(index.int(), means, quats, log_scales.exp(), logits.sigmoid(), sh)

    def changed(self, before: Gaussians, after: Gaussians, which: Bools) -> Resident | None:
        """This, which is `before` on the device, as `after`, which differs from it in the rows `which` [N] at most.

        None if another set of Gaussians is drawn: some are broken that were not, or the other way round.
        """
        rows = np.flatnonzero(which).astype(np.int32)
        new = Resident.upload(after, self.index.device, rows)
        wanted = torch.from_numpy(rows).to(self.index.device)
        at = torch.searchsorted(self.index, wanted)
        if len(new.index) < len(rows) or (at >= len(self.index)).any() or (self.index[at] != wanted).any():
            return None
        sources = {"means": "means", "quats": "quats", "scales": "log_scales", "opacities": "opacity_logits", "sh": "sh"}
        tensors = {
            name: old if getattr(before, source) is getattr(after, source) else old.clone().index_copy_(0, at, getattr(new, name))
            for name, source in sources.items()
            for old in [getattr(self, name)]
        }
        return Resident(self.index, **tensors)

    def mask(self, name: str, masks: Mapping[str, ArrayLike], count: int) -> Tensor | None:
        """[N] for the layer `name` of `count` Gaussians, uploaded once for as long as the array lives; None if it has no mask."""
        if name not in masks:
            return None
        array = np.asarray(masks[name])
        if array.shape != (count,):
            raise ValueError(f"mask of layer {name!r}: expected one value for each of its {count} Gaussians, got {len(array)}")
        key = id(array)
        if key not in self.masks:
            forget = weakref.ref(array, lambda _, masks=self.masks: masks.pop(key, None))
            self.masks[key] = forget, torch.tensor(array, device=self.index.device)[self.index.long()]
        return self.masks[key][1]


@dataclass(frozen=True, eq=False)
class Flat:
    """Gaussians as they stand in C pictures. The numbers of one that is not drawn mean nothing."""

    radii: Tensor  # [C, N, 2] int32 pixels; 0: not drawn
    means: Tensor  # [C, N, 2] pixels
    depths: Tensor  # [C, N] along the view axis
    conics: Tensor  # [C, N, 3] xx, xy, yy of the inverse covariance
    opacities: Tensor  # [C, N]
    features: Tensor  # [C, N, F] what is blended: the colour if it is wanted, then the depth if it is wanted or nothing else is
    tinted: Tensor | None  # [C, N] uint8, if the coverage is wanted

    @staticmethod
    def joined(flats: Sequence[Flat]) -> Flat:
        """The Gaussians of all layers, one layer after another: they are sorted together."""
        if len(flats) == 1:
            return flats[0]
        parts = {each.name: [getattr(flat, each.name) for flat in flats] for each in fields(Flat)}
        tinted = parts.pop("tinted")
        joined = {name: torch.cat(part, 1) for name, part in parts.items()}
        return Flat(**joined, tinted=None if tinted[0] is None else torch.cat(tinted, 1))


class Stopwatch:
    """Milliseconds per stage: by events in the GPU's own stream, which wait for nothing; on a CPU by the clock."""

    def __init__(self, device: torch.device) -> None:
        self._on_gpu = device.type == "cuda"
        self._marks: list[tuple[str, Any]] = []
        self.lap("start")

    def lap(self, stage: str) -> None:
        """What was asked for since the last lap was `stage`."""
        now = torch.cuda.Event(enable_timing=True) if self._on_gpu else time.perf_counter()
        if isinstance(now, torch.cuda.Event):
            now.record()
        self._marks.append((stage, now))

    def milliseconds(self) -> dict[str, float]:
        """By stage; the device must have finished."""
        spans = zip(self._marks, self._marks[1:], strict=False)
        return {stage: before.elapsed_time(now) if self._on_gpu else 1e3 * (now - before) for (_, before), (stage, now) in spans}


class CudaRenderer:
    """Draws splats on a GPU. Pictures lie in page-locked memory, where the GPU puts them itself.

    A small picture is drawn at once, which compiles what has to be compiled (gsplat's kernels: minutes, the first time); ValueError if
    that fails.
    """

    def __init__(self, device: str = "cuda", ops: Ops | None = None) -> None:
        self.device = torch.device(device)
        self._resident: weakref.WeakKeyDictionary[Gaussians, Resident] = weakref.WeakKeyDictionary()
        self._pictures: weakref.WeakKeyDictionary[Frame, Tensor] = weakref.WeakKeyDictionary()  # [H, W, 3] of 8 bits, on the device
        self._encoder = jpeg_encoder() if self.device.type == "cuda" else None
        try:
            self.name = f"cuda {torch.cuda.get_device_name(self.device)}" if self.device.type == "cuda" else f"torch {device}"
            self._ops = ops or gsplat_ops()
            self._draw_proof()
        except Exception as error:  # of a driver, two compilers and three packages, each with errors of its own
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise ValueError(f"backend cuda: its first picture failed ({reason}); `splatview doctor` says what is missing") from error

    def _draw_proof(self) -> None:
        zeros = np.zeros((1, 4, 3), np.float32)
        ball = Gaussians(zeros[:, 0], np.eye(1, 4, dtype=np.float32), zeros[:, 0] - 1, zeros[:, 0, 0] + 4, zeros)
        camera = Camera.look_at((0, -4, 0), (0, 0, 0), (0, 0, 1), 0.8, 32, 32)
        frame = self.render(Scene({"ball": Layer(ball)}), camera, RenderOptions(outputs=("rgb8", "alpha", "depth", "ids")))
        if not (frame.alpha[16, 16] > 0.9 and frame.ids[16, 16] == 0 and abs(frame.depth[16, 16] - 4) < 1e-3):
            raise RuntimeError("a picture of one Gaussian came out wrong")

    def prepare(self, splats: Gaussians) -> Resident:
        """`splats` on the device; kept as long as they live and are not three changes old."""
        if splats not in self._resident:
            self._resident[splats] = self._changed(splats) or Resident.upload(splats, self.device)
            for old in splats.superseded():
                self._resident.pop(old, None)
        return self._resident[splats]

    def _changed(self, splats: Gaussians) -> Resident | None:
        """`splats` from what is on the device of the nearest ancestor that is there, None if there is none."""
        for ancestor, rows in splats.ancestors():
            if ancestor in self._resident:
                return self._resident[ancestor].changed(ancestor, splats, rows)
        return None

    def render(self, scene: Scene, camera: Camera, options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None) -> Frame:
        """The picture, as `splatview.frame.Renderer` describes it; an interrupt is heard between the stages."""
        return self.render_many(scene, [camera], options, interrupt)[0]

    @torch.no_grad()
    def render_many(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions = RenderOptions(), interrupt: Interrupt | None = None
    ) -> list[Frame]:
        """A picture for each of `cameras`, drawn together; each one's timings are its share. ValueError if they differ in size."""
        watch = Stopwatch(self.device)
        return self.delivered(cameras, *self.drawn(scene, cameras, options, interrupt, watch), watch)

    @torch.no_grad()
    def drawn(
        self, scene: Scene, cameras: Sequence[Camera], options: RenderOptions, interrupt: Interrupt | None, watch: Stopwatch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What `render_many` gives, on the device and waited for by nobody: images [C, H, W, ...] by output, and counts [C]."""
        if len(sizes := {(camera.width, camera.height) for camera in cameras}) != 1:
            raise ValueError(f"render_many: expected cameras of one size, got {sorted(sizes)}")
        layers = {name: layer for name, layer in scene.visible_layers.items() if len(self.prepare(layer.splats).index)}
        flats = [self._flat(name, layer, cameras, options, interrupt) for name, layer in layers.items()]
        watch.lap("project")
        images, counts = self._drawn(Flat.joined(flats), cameras, options, interrupt, watch) if flats else self._blank(cameras, options)
        if "ids" in images:
            images |= self._named(images["ids"], scene, layers)
        return images, counts

    def delivered(
        self, cameras: Sequence[Camera], images: Mapping[str, Tensor], counts: Mapping[str, Tensor], watch: Stopwatch
    ) -> list[Frame]:
        """Frames of `images` [C, H, W, ...] and `counts` [C] on the device: copied side by side, and waited for once."""
        on_device = {**images, "counts": torch.stack(list(counts.values()), -1)}
        host = {name: tensor.to("cpu", non_blocking=True) for name, tensor in on_device.items()}  # page-locked
        watch.lap("copy")
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()  # the only wait but gsplat's own, for the number of pairs
        arrays = {name: tensor.numpy() for name, tensor in host.items()}
        timings = {stage: span / len(cameras) for stage, span in watch.milliseconds().items()}
        frames = []
        for at, (camera, row) in enumerate(zip(cameras, arrays.pop("counts").tolist(), strict=True)):
            shown = {name: array[at] for name, array in arrays.items()}
            frames.append(Frame(camera, shown, timings, dict(zip(counts, row, strict=True))))
        if self._encoder is not None and "rgb8" in images:
            self._pictures.update(zip(frames, images["rgb8"], strict=True))
        return frames

    @torch.no_grad()
    def contributors(
        self,
        scene: Scene,
        camera: Camera,
        region: ArrayLike,
        least: float,
        options: RenderOptions = RenderOptions(),
        interrupt: Interrupt | None = None,
    ) -> Masks:
        """Who is seen in a region, as `splatview.frame.Renderer` describes it."""
        pixels, least, options = camera.region(region), share(least), replace(options, outputs=("alpha",))  # no colour is looked at
        layers = {name: layer for name, layer in scene.visible_layers.items() if len(self.prepare(layer.splats).index)}
        flats = [self._flat(name, layer, [camera], options, interrupt) for name, layer in layers.items()]
        found = {name: np.zeros(len(layer.splats), np.bool_) for name, layer in scene.visible_layers.items()}
        if not flats:
            return Masks(found)
        flat = Flat.joined(flats)
        _, offsets, members = self._tiles(flat, camera, interrupt)
        where = torch.from_numpy(pixels.astype(np.uint8)).to(self.device)
        splats = [tensor[0].contiguous() for tensor in (flat.means, flat.conics, flat.opacities)]
        seen = self._ops.seen_in(*splats, where, least, TILE, offsets[0], members, outlined=options.style == "outlines").bool()
        _heed(interrupt)
        residents = [self.prepare(layer.splats) for layer in layers.values()]
        for name, here, mask in zip(layers, residents, seen.split([len(here.index) for here in residents]), strict=True):
            found[name][here.index[mask].cpu().numpy()] = True
        return Masks(found)

    def encode_jpeg(self, frame: Frame, quality: int) -> bytes | None:
        """The frame's 8-bit picture as JPEG with full colour, encoded where it was drawn.

        None if there is no such picture of ours, or no encoder: then it is for the caller to encode `frame.rgb8`.
        """
        picture = self._pictures.get(frame)
        if picture is None or self._encoder is None:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torchvision 0.29 says that its encoder will move to another package
            try:
                return self._encoder(picture.permute(2, 0, 1).contiguous(), quality).cpu().numpy().tobytes()
            except RuntimeError:  # no nvJPEG on this machine
                self._encoder = None
                return None

    def _small(self, values: ArrayLike, dtype: type = np.float32) -> Tensor:
        """A few numbers on the device, without waiting for it."""
        return torch.from_numpy(np.array(values, dtype)).to(self.device, non_blocking=True)

    def _flat(self, name: str, layer: Layer, cameras: Sequence[Camera], options: RenderOptions, interrupt: Interrupt | None) -> Flat:
        """A layer before the cameras. Its placement is part of the pose, so moving it changes nothing on the device."""
        _heed(interrupt)
        splats, here, wanted = layer.splats, self.prepare(layer.splats), set(options.outputs)
        centres = options.style == "centres"
        antialiased = not centres and (splats.kind == "antialiased" if options.antialiased is None else options.antialiased)
        radii, means, depths, conics, compensations = self._ops.project(
            here.means,
            None,
            here.quats,
            here.scales if options.splat_scale == 1 else here.scales * options.splat_scale,
            self._small([camera.camera_from_world @ layer.placement.matrix for camera in cameras]),
            self._small([camera.K for camera in cameras]),
            cameras[0].width,
            cameras[0].height,
            near_plane=options.near,
            far_plane=options.far,
            calc_compensations=antialiased,
            opacities=None if centres else here.opacities,  # for tighter radii
        )
        # A conic of zeros is what is left of a covariance that overflowed. Of what is not drawn, any number may be anything.
        drawn = (radii > 0).all(-1) & torch.isfinite(conics.sum(-1) + means.sum(-1) + depths) & (conics[..., ::2] > 0).all(-1)
        opacities = here.opacities * compensations if antialiased else here.opacities.expand_as(depths)
        if centres:
            drawn &= here.opacities >= SMALLEST_OPACITY
            radii, opacities = torch.full_like(radii, CENTRE_RADIUS), torch.full_like(depths, CENTRE_OPACITY)
            conics = self._small(CENTRE_CONIC).expand_as(conics)
        if (hidden := here.mask(name, options.hidden, len(splats))) is not None:
            drawn &= ~hidden
        features, tinted, covering = [], here.mask(name, options.tinted, len(splats)), None
        if "coverage" in wanted:
            covering = (
                torch.zeros(depths.shape, dtype=torch.uint8, device=self.device) if tinted is None else tinted.byte().expand_as(depths)
            )
        if wanted & COLOUR:
            colours = self._colours(layer, cameras, options, drawn)
            if tinted is not None and options.tint is not None:
                colours = torch.where(tinted[:, None], 0.5 * colours + 0.5 * self._small(options.tint), colours)
            drawn &= torch.isfinite(colours.sum(-1))
            features.append(colours)
        if "depth" in wanted or not features:
            features.append(depths[..., None])
        return Flat(radii * drawn[..., None], means, depths, conics, opacities, torch.cat(features, -1), covering)

    def _colours(self, layer: Layer, cameras: Sequence[Camera], options: RenderOptions, drawn: Tensor) -> Tensor:
        """[C, N, 3] of what is `drawn` [C, N]. The harmonics stay as trained and are seen from the eye's place in the layer's frame."""
        here, degree = self.prepare(layer.splats), layer.splats.sh_degree
        degree = degree if options.sh_degree is None else min(options.sh_degree, degree)
        eyes = self._small([layer.placement.inverse().apply(camera.position) for camera in cameras])
        # One camera at a time: a batch would hold the coefficients, most of a scene's memory, once for each.
        sums = [self._ops.evaluate(degree, here.means - eye, here.sh, seen) for eye, seen in zip(eyes, drawn, strict=True)]
        return (torch.stack(sums) + 0.5).clamp_min(0)

    def _drawn(
        self, flat: Flat, cameras: Sequence[Camera], options: RenderOptions, interrupt: Interrupt | None, watch: Stopwatch
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As `drawn`, but that "ids" counts through all layers. Counts: Gaussians in view, and their pairs with tiles."""
        width, height, wanted, outlined = cameras[0].width, cameras[0].height, set(options.outputs), options.style == "outlines"
        tiles, offsets, members = self._tiles(flat, cameras[0], interrupt)
        images: dict[str, Tensor] = {}
        counts = {"drawn": (flat.radii > 0).all(-1).sum(-1), "pairs": tiles.sum(-1)}
        watch.lap("sort")
        _heed(interrupt)
        splats = [tensor.contiguous() for tensor in (flat.means, flat.conics, flat.features, flat.opacities, flat.depths)]
        means, conics, features, opacities, depths = splats
        background = self._small([*options.background, 0.0] if wanted & COLOUR else [0.0])[: features.shape[-1]]
        blended = alpha = None
        if wanted & PICTURE and not outlined:
            behind = background.expand(len(cameras), -1)
            blended, alpha = self._ops.rasterise(means, conics, features, opacities, width, height, TILE, offsets, members, behind)
        watch.lap("blend")
        _heed(interrupt)
        if outlined or wanted & CONTRIBUTIONS:
            painted = features if outlined and wanted & PICTURE else None
            tinted = None if flat.tinted is None else flat.tinted.contiguous()
            found = self._ops.contributions(
                means, conics, opacities, depths, painted, (width, height), TILE, offsets, members, outlined=outlined, tinted=tinted
            )
            images |= {name: getattr(found, name) for name in CONTRIBUTIONS & wanted}
            if painted is not None:
                blended, alpha = found.blended + (1 - found.alpha) * background, found.alpha
        watch.lap("contributions")
        return images if blended is None or alpha is None else images | _pictures(blended, alpha, wanted), counts

    def _tiles(self, flat: Flat, camera: Camera, interrupt: Interrupt | None) -> tuple[Tensor, Tensor, Tensor]:
        """Tiles per Gaussian [C, N], where each tile's list begins [C, down, across], and the lists [M], in pictures of `camera`'s size."""
        across, down, count = -(-camera.width // TILE), -(-camera.height // TILE), len(flat.depths)
        _heed(interrupt)
        tiles, pairs, members = self._ops.intersect(flat.means, flat.radii, flat.depths, TILE, across, down)
        return tiles, self._ops.offsets(pairs, count, across, down).reshape(count, down, across), members

    def _blank(self, cameras: Sequence[Camera], options: RenderOptions) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What `_drawn` gives where there is nothing to draw."""
        shape, wanted = (len(cameras), cameras[0].height, cameras[0].width), set(options.outputs)
        zeros = torch.zeros(shape, device=self.device)
        images = {"median_depth": zeros, "overdraw": zeros.int(), "ids": zeros.int() - 1, "coverage": zeros}
        images |= _pictures(self._small([*options.background, 0.0]).expand(*shape, 4), zeros[..., None], wanted)
        none = zeros[:, 0, 0].long()
        return {name: image for name, image in images.items() if name in wanted}, {"drawn": none, "pairs": none}

    def _named(self, ids: Tensor, scene: Scene, layers: Mapping[str, Layer]) -> dict[str, Tensor]:
        """Both "ids" and "id_layers" [C, H, W] of `ids` that count through the Gaussians of `layers` on the device."""
        if not layers:
            return {"ids": ids, "id_layers": ids.clone()}
        residents = [self.prepare(layer.splats) for layer in layers.values()]
        ends = self._small(np.cumsum([len(here.index) for here in residents]), np.int32)
        places = self._small([list(scene.layers).index(name) for name in layers], np.int32)
        index = torch.cat([here.index for here in residents])
        at = ids.clamp_min(0)
        layer_of = places[torch.bucketize(at, ends, right=True)]
        return {"ids": torch.where(ids < 0, -1, index[at.long()]), "id_layers": torch.where(ids < 0, -1, layer_of)}


def _heed(interrupt: Interrupt | None) -> None:
    if interrupt is not None and interrupt.is_set:
        raise Interrupted


def _pictures(blended: Tensor, alpha: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
    """The `wanted` of rgb, rgb8, alpha and depth, of blended features [C, H, W, F], as they stand in `Flat`, and alpha [C, H, W, 1]."""
    covered = alpha[..., 0]
    make: dict[str, Callable[[], Tensor]] = {
        "rgb": lambda: blended[..., :3].contiguous(),
        "rgb8": lambda: (blended[..., :3].clamp(0, 1) * 255 + 0.5).to(torch.uint8),
        "alpha": lambda: covered,
        "depth": lambda: torch.where(covered > 0, blended[..., -1] / covered, 0.0),
    }
    return {name: image() for name, image in make.items() if name in wanted}
