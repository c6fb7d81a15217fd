"""Training a field from a capture, step by step (Müller et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from splatview import ngp
from splatview.arrays import Bytes, Floats
from splatview.fit.capture import Capture, Photo
from splatview.fit.field import Field, Shape
from splatview.fit.marching import Samples, light_at, march, packed, weights
from splatview.fit.occupancy import OccupancyGrid
from splatview.fit.optimiser import SparseAdam
from splatview.hashgrid import HashGrid, Marching

NEAR_WHILE_TRAINING = 0.1  # closer to a camera nothing is learned: it would be seen by that camera alone
HUBER = 0.1
UPDATE_EVERY = 16  # steps
HELD_OUT = 8  # one photo of so many is not trained on
FIRST_RAYS = 1 << 12
MOST_FOUND = 3  # samples that are found for each that is learned from
UNSEEN = 1e-3  # transmittance
MOST_RAYS = 1 << 17
RATE, LAST_RATE, FALLS_AFTER = 1e-2, 0.03, 0.3  # of learning; what is left of it in the end; the share of the time before it falls
DECAY = 1e-6  # of the networks' weights


Ask = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]  # see Field.forward


@dataclass(frozen=True)
class Recipe:
    """How a field is trained."""

    shape: Shape = field(default_factory=Shape)
    samples: int = 1 << 18  # per step, about
    seed: int = 0


class Training:
    """A field in the making. Photos of which `HELD_OUT` divides the number are kept for `evaluate`."""

    def __init__(self, capture: Capture, recipe: Recipe, device: str | torch.device = "cpu") -> None:
        self.capture, self.recipe, self.device = capture, recipe, torch.device(device)
        self.steps = 0
        self.marching = ngp.marching(capture.box_scale)
        self._while_training = replace(self.marching, near=NEAR_WHILE_TRAINING)
        self._random = torch.Generator(self.device).manual_seed(recipe.seed)
        self.field = Field(recipe.shape, capture.box, self.device, torch.Generator().manual_seed(recipe.seed))
        self.grid = OccupancyGrid(capture.box_scale, self.marching, self.device, recipe.seed)
        networks = [*self.field.density, *self.field.colour]
        adam = {"betas": (0.9, 0.99), "eps": 1e-15}
        self._networks = torch.optim.Adam(networks, RATE, weight_decay=DECAY, **adam, fused=True)
        self._table = SparseAdam(self.field.table, **adam)
        few = len(capture.photos) < 2
        self.trained_on = [photo for place, photo in enumerate(capture.photos) if few or place % HELD_OUT]
        self.held_out = [photo for place, photo in enumerate(capture.photos) if not few and place % HELD_OUT == 0]
        self._pixels = _Pixels(self.trained_on, capture, self.device)
        self._rays = FIRST_RAYS
        self.grid.leave_out_unseen(self._sees())

    def step(self, progress: float) -> Tensor:
        """Learn from some rays; `progress` (0..1) is how much of the training is over. The loss."""
        if self.steps % UPDATE_EVERY == 0:
            self.grid.update(self.field.density_at, self._random)
        rate = RATE * LAST_RATE ** (max(0.0, progress - FALLS_AFTER) / (1 - FALLS_AFTER))
        origins, directions, wanted = self._pixels.drawn(self._rays, self._random)
        behind = torch.rand(wanted.shape[0], 3, generator=self._random, device=self.device)
        shift = torch.rand(len(origins), generator=self._random, device=self.device)
        samples = self._march(origins, directions, shift, self._while_training)
        found = len(samples.ray)
        if found > MOST_FOUND * self.recipe.samples:  # a lucky draw of long rays; they come again
            samples, origins, directions, wanted, behind = _cut(
                samples, MOST_FOUND * self.recipe.samples, origins, directions, wanted, behind
            )
        samples = self._seen(origins, directions, samples)
        most = 2 * self.recipe.samples
        if len(samples.ray) > most:
            samples, origins, directions, wanted, behind = _cut(samples, most, origins, directions, wanted, behind)
        shown, alpha = self._blended(origins, directions, samples, self.field)
        pixel = wanted[:, :3] * wanted[:, 3:] + behind * (1 - wanted[:, 3:])
        loss = functional.huber_loss(shown + behind * (1 - alpha[:, None]), pixel, delta=HUBER)
        self._networks.zero_grad(set_to_none=True)
        self.field.table.grad = None
        loss.backward()
        for group in self._networks.param_groups:
            group["lr"] = rate
        self._networks.step()
        self._table.step(rate)
        self.steps += 1
        ratio = min(self.recipe.samples / max(1, len(samples.ray)), MOST_FOUND * self.recipe.samples / max(1, found))
        self._rays = min(MOST_RAYS, max(64, int(self._rays * min(2.0, max(0.5, ratio)))))
        return loss.detach()

    def _sees(self) -> Callable[[Tensor], Tensor]:
        """Tells of points [N, 3] which are in at least one photo, or would be but for its lens."""
        cameras = []
        for photo in self.trained_on:
            rotation, place = _pose(photo, self.capture)
            reach = photo.lens.reach
            cameras.append(np.concatenate([rotation.T / [[reach[0]], [reach[1]], [1]], place[:, None]], 1))
        poses = torch.tensor(np.array(cameras), dtype=torch.float32, device=self.device)  # [P, 3, 4] to the frustum |x|, |y| <= z; place

        def sees(points: Tensor) -> Tensor:
            x, y, z = torch.einsum("pij,npj->inp", poses[:, :, :3], points[:, None] - poses[:, :, 3])
            return ((z > 0) & (x.abs() <= z) & (y.abs() <= z)).any(1)

        return sees

    def _march(self, origins: Tensor, directions: Tensor, shift: Tensor, marching: Marching) -> Samples:
        low, high = self.capture.box[:, 0].tolist()
        return march(origins, directions, shift, self.grid, marching, low, high)

    @torch.no_grad()
    def _seen(self, origins: Tensor, directions: Tensor, samples: Samples) -> Samples:
        """Without those that lie behind what cannot be seen through: there is nothing to be learned from them."""
        density = self.field.density_at(_places(origins, directions, samples))
        kept = torch.nonzero(light_at(density * samples.length, samples) >= UNSEEN)[:, 0]
        return packed(samples.ray[kept], samples.distance[kept], samples.length[kept], len(origins))

    def _blended(self, origins: Tensor, directions: Tensor, samples: Samples, ask: Ask) -> tuple[Tensor, Tensor]:
        """Colour [R, 3] over black and alpha [R] of rays."""
        density, rgb = ask(_places(origins, directions, samples), directions, samples.ray)
        weight = weights(density, samples)
        shown = torch.zeros(len(origins), 3, device=self.device).index_add(0, samples.ray, weight[:, None] * rgb)
        return shown, torch.zeros(len(origins), device=self.device).index_add(0, samples.ray, weight)

    @torch.no_grad()
    def picture(self, photo: Photo) -> tuple[Tensor, Tensor]:
        """What the field shows where `photo` was taken: rgb [H, W, 3] over black, alpha [H, W]."""
        origins, directions = _rays(photo, self.capture, self.device)
        ask = self.field if self.device.type == "cuda" else _native(self.value())
        parts = []
        for begin in range(0, len(origins), self._part):
            part = slice(begin, begin + self._part)
            half = torch.full((len(origins[part]),), 0.5, device=self.device)
            samples = self._march(origins[part], directions[part], half, self.marching)
            parts.append(self._blended(origins[part], directions[part], samples, ask))
        rgb, alpha = (torch.cat(one) for one in zip(*parts, strict=True))
        shape = photo.lens.height, photo.lens.width
        return rgb.view(*shape, 3), alpha.view(shape)

    def shown(self, photo: Photo) -> tuple[Floats, Floats]:
        """What the field shows where `photo` was taken, and the photo, both [H, W, 3] 0..1, over black."""
        truth = _opaque(photo.pixels).astype(np.float32) / 255
        return self.picture(photo)[0].clamp(0, 1).cpu().numpy(), np.asarray(truth[..., :3] * truth[..., 3:], np.float32)

    @property
    def _part(self) -> int:
        """Rays of a picture that are drawn at once."""
        return max(256, min(1 << 14, self._rays))

    def value(self) -> HashGrid:
        """The field as it stands."""
        return self.field.hashgrid(self.marching, self.grid.value())

    @property
    def _identity(self) -> dict[str, Any]:
        """What may not change while a field is trained."""
        return {**asdict(self.recipe), "aabb_scale": self.capture.box_scale}

    def state(self) -> dict[str, Any]:
        """All that `restore` needs to go on."""
        return {
            "recipe": self._identity,
            "steps": self.steps,
            "rays": self._rays,
            "field": self.field.state_dict(),
            "networks": self._networks.state_dict(),
            "table": self._table.state(),
            "grid": self.grid.state(),
            "random": self._random.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state`; ValueError if it is of another training."""
        if state.get("recipe") != self._identity:
            raise ValueError(f"expected the checkpoint of {self._identity}, found one of {state.get('recipe')!r:.300}")
        self.steps, self._rays = state["steps"], state["rays"]
        self.field.load_state_dict(state["field"])
        self._networks.load_state_dict(state["networks"])
        self._table.restore(state["table"])
        self.grid.restore(state["grid"])
        self._random.set_state(state["random"].cpu())


def _native(value: HashGrid) -> Ask:
    """The field as a value, which answers faster on a CPU and learns nothing."""

    def ask(positions: Tensor, directions: Tensor, ray: Tensor) -> tuple[Tensor, Tensor]:
        density, rgb = value.query(positions.numpy(), directions[ray].numpy())
        return torch.from_numpy(density), torch.from_numpy(rgb)

    return ask


def _places(origins: Tensor, directions: Tensor, samples: Samples) -> Tensor:
    """[S, 3] where the samples of rays [R, 3] are."""
    return torch.addcmul(origins[samples.ray], directions[samples.ray], samples.distance[:, None])


def _cut(samples: Samples, most: int, *of_rays: Tensor) -> tuple[Any, ...]:
    """The first rays, whose samples are no more than `most`."""
    rays = max(1, int(torch.searchsorted(samples.last, most, right=True)))
    end = int(samples.last[rays - 1])
    cut = Samples(samples.ray[:end], samples.distance[:end], samples.length[:end], samples.first[:rays], samples.last[:rays])
    return cut, *(one[:rays] for one in of_rays)


def _rays(photo: Photo, capture: Capture, device: torch.device) -> tuple[Tensor, Tensor]:
    """Origins and unit directions [H W, 3] of a photo's pixels in the field's frame."""
    plane = torch.from_numpy(photo.lens.rays()).to(device).view(-1, 2)
    rotation, place = _pose(photo, capture)
    along = torch.cat([plane, torch.ones_like(plane[:, :1])], 1) @ torch.tensor(rotation.T, dtype=torch.float32, device=device)
    return torch.tensor(place, dtype=torch.float32, device=device).expand(len(along), 3), functional.normalize(along, dim=1)


def _pose(photo: Photo, capture: Capture) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] of a photo's camera into the field's frame, and its place there [3]."""
    into = capture.field_from_world
    return into.rotation @ photo.world_from_camera[:3, :3], into.apply(photo.world_from_camera[:3, 3])


class _Pixels:
    """All pixels of some photos, drawn at random."""

    def __init__(self, photos: list[Photo], capture: Capture, device: torch.device) -> None:
        order = list(dict.fromkeys(photo.lens for photo in photos))
        begins = np.cumsum([0, *(lens.width * lens.height for lens in order)])
        self._planes = torch.cat([torch.from_numpy(lens.rays()).view(-1, 2) for lens in order]).to(
            device
        )  # x / z, y / z of every pixel of every lens
        self._plane_of = torch.tensor([int(begins[order.index(photo.lens)]) for photo in photos], device=device)
        self._colours = torch.from_numpy(np.concatenate([_opaque(photo.pixels).reshape(-1, 4) for photo in photos])).to(device)
        self._ends = torch.tensor(np.cumsum([photo.lens.width * photo.lens.height for photo in photos]), device=device)
        poses = [_pose(photo, capture) for photo in photos]
        self._rotations = torch.tensor(np.array([rotation for rotation, _ in poses]), dtype=torch.float32, device=device)
        self._places = torch.tensor(np.array([place for _, place in poses]), dtype=torch.float32, device=device)

    def drawn(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Origins and unit directions [R, 3] of some rays, and what they should show: [R, 4] sRGB and opacity, 0..1."""
        pixel = torch.randint(len(self._colours), (count,), generator=generator, device=self._colours.device)
        photo = torch.searchsorted(self._ends, pixel, right=True)
        begin = torch.where(photo > 0, self._ends[photo - 1], 0)
        plane = self._planes[self._plane_of[photo] + pixel - begin]
        along = torch.cat([plane, torch.ones_like(plane[:, :1])], 1)
        directions = (self._rotations[photo] @ along[:, :, None])[..., 0]
        return self._places[photo], functional.normalize(directions, dim=1), self._colours[pixel] / 255


def _opaque(pixels: Bytes) -> Bytes:
    """[H, W, 4]."""
    return pixels if pixels.shape[2] == 4 else np.concatenate([pixels, np.full_like(pixels[..., :1], 255)], -1)
