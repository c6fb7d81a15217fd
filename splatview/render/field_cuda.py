"""Fields on a GPU: their rays, and who is asked about the samples."""

from __future__ import annotations

import logging
import math
import weakref
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from splatview.camera import Camera
from splatview.frame import Interrupt, Interrupted
from splatview.hashgrid import HashGrid, last_transmittance
from splatview.render import tiny_cuda_nn
from splatview.render.field_tcnn import TinyCudaNetworks
from splatview.render.field_triton import TritonNetworks
from splatview.render.field_waves import Networks, Space, Wave, launch
from splatview.scene import Layer
from splatview.volumes import packed as packed_cuts

TILE = 8  # pixels a side
RAYS = 1 << 20  # that are drawn at once, at most: what they need is about 0.7 KB each
SAMPLES = 8  # of a ray in a round, at first
ROUNDS = 4  # between two looks at whether all rays have ended
BLOCKS = {"begin_rays": 128, "advance": 128, "finish": 256}  # of the programs

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class FieldFrame:
    """A field in a picture, on the device: nothing behind it."""

    rgb: Tensor  # [H, W, 3] the weighted sum of the samples' colours, as the field has them
    alpha: Tensor  # [H, W]
    distance: Tensor  # [H, W] the weighted sum of the samples' distances along the view axis, in the field's units
    samples: Tensor  # [H, W] int32, places that the field was asked about
    behind: FieldFrame | None = None  # of rays that are divided, what lies behind; this is what lies before

    @staticmethod
    def room(height: int, width: int, device: torch.device) -> FieldFrame:
        """One to be written."""
        rgb, alpha, distance = (torch.empty((height, width, *more), device=device) for more in ((3,), (), ()))
        return FieldFrame(rgb, alpha, distance, torch.empty((height, width), dtype=torch.int32, device=device))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A field on the device."""

    space: Space
    networks: Networks


class FieldCuda:
    """Draws fields on a GPU; those that were prepared are kept as long as they live.

    `networks`: who has a field's networks, as `tiny_cuda_nn.find` says. Those that tiny-cuda-nn cannot hold our own kernels have.
    """

    def __init__(self, device: str = "cuda", networks: str | None = None) -> None:
        self._device, (self._tinycudann, _) = torch.device(device), tiny_cuda_nn.find(networks)
        self._prepared: weakref.WeakKeyDictionary[HashGrid, Prepared] = weakref.WeakKeyDictionary()

    def prepare(self, field: HashGrid) -> Prepared:
        if field not in self._prepared:
            self._prepared[field] = Prepared(Space.of(field, self._device), self._networks(field))
        return self._prepared[field]

    def _networks(self, field: HashGrid) -> Networks:
        if self._tinycudann is not None:
            try:
                return TinyCudaNetworks(field, self._device, self._tinycudann)
            except ValueError as error:
                log.info("a field whose networks tiny-cuda-nn does not have: %s", error)
        return TritonNetworks(field, self._device)

    @torch.no_grad()
    def render(
        self,
        layer: Layer,
        camera: Camera,
        near: float = 0.0,
        far: float = math.inf,
        detail: float = 1.0,
        interrupt: Interrupt | None = None,
        divide: Tensor | None = None,
    ) -> FieldFrame:
        """A layer that is a field; `near` and `far` along the view axis, world units; `detail` as of a draft; Interrupted now and then.

        `divide` [H, W]: z, in the world, at which each ray is divided. What lies behind is drawn over nothing, where it is seen at all.
        """
        here, (height, width), into = self.prepare(layer.field), (camera.height, camera.width), layer.placement.inverse()
        rotation = into.rotation @ camera.camera_from_world[:3, :3].T
        eye = into.apply(camera.position)
        view = self._small([*camera.K[[0, 1], [0, 1]], *camera.K[:2, 2], *eye, *rotation.reshape(-1)])
        across, down = -(-width // TILE), -(-height // TILE)
        reach = layer.field.marching.near, float(near * into.scale), float(min(far * into.scale, 1e30))  # Triton knows no numpy
        bounds, cuts = self._small(layer.bounds.reshape(-1)), self._small(packed_cuts(layer.cuts))
        frames: list[FieldFrame] = []
        for part in (0,) if divide is None else (1, 2):
            frames.append(FieldFrame.room(height, width, self._device))
            place = view if divide is None else (divide * into.scale).clamp(max=1e30).contiguous()
            pieces = {"PART": part}, (place, frames[0].alpha)
            for begin in range(0, across * down * TILE**2, RAYS):
                some = min(RAYS, across * down * TILE**2 - begin)
                self._draw(frames[-1], here, view, begin, some, across, reach, bounds, cuts, detail, interrupt, pieces)
        return frames[0] if divide is None else replace(frames[0], samples=frames[0].samples + frames[1].samples, behind=frames[1])

    def _draw(
        self,
        frame: FieldFrame,
        here: Prepared,
        view: Tensor,
        begin: int,
        rays: int,
        across: int,
        reach: tuple[float, float, float],
        bounds: Tensor,
        cuts: Tensor,
        detail: float,
        interrupt: Interrupt | None,
        pieces: tuple[dict[str, int], tuple[Tensor, Tensor]],
    ) -> None:
        """The rays from number `begin` on; `pieces`: which part of them, where they are divided, and how much was seen before that."""
        space, slots = here.space, SAMPLES * rays
        size: dict[str, Any] = {"device": self._device}
        directions, sums = torch.empty((3, rays), **size), torch.empty((4, rays), **size)
        starts, leaves, lights = torch.empty((3, rays), **size)
        asked, *lists = torch.empty((3, rays), dtype=torch.int32, **size)
        seen = torch.empty((rays, 16), dtype=torch.float16, **size)
        places, answers = torch.empty((2, slots), **size), torch.empty((4, slots), **size)
        owners = torch.empty(slots, dtype=torch.int32, **size)
        counts = torch.zeros(1 << 12, dtype=torch.int32, **size)
        counts[0] = rays
        step, rate, first, last, longest = space.steps
        steps = step / detail, rate / detail, first, last, min(longest / detail, 1e30)
        height, width = frame.alpha.shape
        picture = begin, rays, across, width, height
        state = directions, starts, leaves, lights, sums, asked
        self._launch("begin_rays", rays, space, *state, seen, lists[0], view, bounds, *pieces[1], *picture, *steps, *reach, **pieces[0])
        for turn in range(len(counts) - 1):
            listed, going = lists[turn % 2], lists[1 - turn % 2]
            wave = Wave(answers, directions, seen, counts, places[turn % 2], owners, view, cuts, turn, steps)
            lists_now = listed, going, counts, places[1 - turn % 2], answers, wave.places, owners
            where = view, space.cells, space.blocks, space.boxes, cuts, len(cuts), turn, rays, slots
            end = last_transmittance(detail)
            self._launch("advance", rays, space, *state, *lists_now, *where, *steps, end, CROPPED=len(cuts) > 0)
            if turn % ROUNDS == ROUNDS - 1 and not int(counts[turn + 1]):
                break
            if interrupt is not None and interrupt.is_set:
                raise Interrupted
            here.networks.answer(space, wave)
        self._launch("finish", rays, space, frame.rgb, frame.alpha, frame.distance, frame.samples, lights, sums, asked, view, *picture)

    def _launch(self, name: str, count: int, space: Space, *inputs: Any, **more: int) -> None:
        from splatview.render import field_kernels

        constants = {**space.constants, **more, "TILE": TILE}
        launch(getattr(field_kernels, name), count, *inputs, constants=constants, block=BLOCKS[name])

    def _small(self, values: ArrayLike) -> Tensor:
        return torch.from_numpy(np.array(values, np.float32)).to(self._device, non_blocking=True)
