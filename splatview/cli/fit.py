"""`splatview fit`: a radiance field from posed photographs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from splatview.cli.faults import UserError, users_fault
from splatview.cli.waiting import waiting
from splatview.ngp import FINEST

if TYPE_CHECKING:
    from splatview.cli.watching import Watching
    from splatview.fit.training import Training

SAVE_EVERY = 45.0  # seconds between two checkpoints
LOOK_EVERY = 15.0  # and between two looks at a photo that is held out
SAY_EVERY = 0.5
PREVIEW = 160  # pixels of the larger side of what is looked at
MINUTES = {"cpu": 15.0, "cuda": 2.0}
LOG2_SIZE = {"cpu": 17, "cuda": 19}
SAMPLES = {"cpu": 1 << 16, "cuda": 1 << 18}  # of a step


@dataclass(frozen=True)
class Standing:
    """How far a training is."""

    steps: int
    fraction: float  # 0..1
    loss: float
    psnr: float | None  # dB, of a photo held out; None: not looked at yet
    minutes_left: float


@dataclass(frozen=True)
class Command:
    """Train a radiance field (Instant-NGP's hash grid) from photographs whose camera poses are known.

    One photo of eight is held out, and tells in the end how good the field is where it was not trained. A checkpoint beside the target lets
    an interrupted training go on (--resume).

    Example: splatview fit fox/ fox.ingp --downscale 4 --minutes 10
    """

    capture: Annotated[Positional[Path], arg(metavar="CAPTURE")]
    """A transforms.json (instant-ngp, nerfstudio), or a folder with one, or with a COLMAP model."""
    target: Annotated[Positional[Path], arg(metavar="TARGET")]
    """The field to write, .ingp."""
    minutes: float | None = None
    """How long to train. Default: 15, with a GPU 2."""
    steps: int | None = None
    """How many steps at most."""
    downscale: float = 1.0
    """Make photos smaller by this; 4 suits a machine without a GPU."""
    aabb_scale: int | None = None
    """Side of the box that is trained, 1 to 128, a power of two. Default: as the capture says, else 16."""
    log2_size: int | None = None
    """A level's table has up to two to this power entries: 15 is small, 19 is instant-ngp's. Default: 17, with a GPU 19."""
    finest: int = FINEST
    """Cells of the finest level along a unit of the box. Small tables learn more from fewer: 512 suits --log2-size 15."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    resume: bool = False
    """Go on with the training that was interrupted."""
    restart: bool = False
    """Begin anew, although one was interrupted."""
    seed: int = 0
    """Of everything that is random."""
    watch: bool = False
    """Look at it in the browser while it is trained, and until Ctrl+C. The page has a button that ends the training."""
    port: int = 8080
    """Of the page; 0: any free one."""
    host: str = "127.0.0.1"
    """The address that the page listens on; beyond this machine the printed address carries a token."""
    open: bool = True
    """Whether the page is opened in the default browser."""

    def run(self) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin: on a machine that others use, too, twice the time
        self._check()
        device = self._device()
        checkpoint = self.target.with_name(f"{self.target.name}.ckpt")
        if checkpoint.exists() and not (self.resume or self.restart):
            raise UserError(f"{checkpoint} holds a training that was interrupted: --resume goes on with it, --restart begins anew")
        if self.resume and not checkpoint.exists():
            raise UserError(f"--resume: expected the checkpoint of a training, there is no {checkpoint}")
        training, spent = self._begun(device, checkpoint)
        if not self.watch:
            self._trained(training, spent, checkpoint)
            return
        from splatview.cli.ending import ended_by_signals
        from splatview.cli.watching import Watching
        from splatview.viewer import ViewerSettings

        with users_fault(ValueError):
            settings = ViewerSettings(self.port, self.host, open=self.open)
        with ended_by_signals(), closing(Watching(training, self.target.stem, settings)) as watching:
            self._trained(training, spent, checkpoint, watching)
            watching.over(f"{self.target} is written")

    def _trained(self, training: Training, spent: float, checkpoint: Path, watching: Watching | None = None) -> None:
        """Train, write and tell."""
        minutes = self.minutes if self.minutes is not None else None if self.steps else MINUTES[training.device.type]
        with waiting(f"training {self.target.name}") as progress:
            self._train(training, spent, 60 * minutes if minutes is not None else None, checkpoint, Audience(progress, watching))
        self._write(training)
        checkpoint.unlink(missing_ok=True)
        self._tell(training)

    def _check(self) -> None:
        if self.target.suffix.lower() != ".ingp":
            raise UserError(f"{self.target}: expected a name that ends with .ingp")
        if not self.target.absolute().parent.is_dir():
            raise UserError(f"{self.target}: there is no folder {self.target.absolute().parent}")
        if (self.minutes is not None and not self.minutes > 0) or (self.steps is not None and self.steps < 1):
            raise UserError("--minutes, --steps: expected more than 0")
        if self.log2_size is not None and not 10 <= self.log2_size <= 24:
            raise UserError(f"--log2-size: expected 10 to 24, got {self.log2_size}")
        if not 32 <= self.finest <= 1 << 16:
            raise UserError(f"--finest: expected 32 to {1 << 16}, got {self.finest}")
        if self.resume and self.restart:
            raise UserError("--resume goes on and --restart begins anew: expected one of them")
        if find_spec("torch") is None:
            raise UserError("training needs PyTorch: pip install 'splatview[train]'")

    def _device(self) -> str:
        import torch

        works = torch.cuda.is_available() and find_spec("triton") is not None
        if self.device == "cuda" and not works:
            raise UserError("--device cuda: PyTorch sees no GPU here, or Triton is not installed; `splatview doctor` says more")
        return "cuda" if works and self.device != "cpu" else "cpu"

    def _begun(self, device: str, checkpoint: Path) -> tuple[Training, float]:
        """The training, and the seconds that went into it before."""
        import torch

        from splatview.fit import checkpoints, load_capture
        from splatview.fit.field import Shape
        from splatview.fit.training import Recipe, Training

        torch.set_float32_matmul_precision("high")
        with users_fault(ValueError, OSError), waiting(f"reading {self.capture}") as progress:
            capture = load_capture(self.capture, self.downscale, self.aabb_scale, progress)
        missing = f" ({capture.missing} more are listed and not there)" if capture.missing else ""
        print(f"{self.capture}: {len(capture.photos)} photos{missing}; training on the {'GPU' if device == 'cuda' else 'CPU'}", flush=True)
        training = Training(
            capture, Recipe(Shape(log2_size=self.log2_size or LOG2_SIZE[device], finest=self.finest), SAMPLES[device], self.seed), device
        )
        spent = 0.0
        if self.resume:
            with users_fault(ValueError, OSError):
                state = checkpoints.load(checkpoint)
                try:
                    training.restore(state)
                    spent = float(state["seconds"])
                except (KeyError, TypeError, RuntimeError, AttributeError) as error:  # what torch says of arrays that do not fit
                    raise ValueError(f"{checkpoint}: expected a whole checkpoint of splatview fit ({error!r:.200})") from None
            print(f"going on after {training.steps:,} steps", flush=True)
        return training, spent

    def _train(self, training: Training, spent: float, seconds: float | None, checkpoint: Path, audience: Audience) -> None:
        from splatview.fit import checkpoints

        began = time.monotonic() - spent
        saved = looked = said = time.monotonic()
        decibels: float | None = None

        def save() -> None:
            with users_fault(OSError):
                checkpoints.save({**training.state(), "seconds": time.monotonic() - began}, checkpoint)

        try:
            while True:
                now = time.monotonic()
                parts = ((now - began) / seconds if seconds else 0.0, training.steps / self.steps if self.steps else 0.0)
                if max(parts) >= 1 or audience.stopping:
                    return
                loss = training.step(max(parts))
                if now - looked > LOOK_EVERY and training.held_out:
                    decibels, looked = preview(training), now
                if now - said > SAY_EVERY:
                    left = (now - began) / max(parts) * (1 - max(parts)) if max(parts) else 0.0
                    audience.told(Standing(training.steps, max(parts), float(loss), decibels, left / 60))
                    said = now
                if now - saved > SAVE_EVERY:
                    save()
                    saved = now
        except KeyboardInterrupt:
            save()
            print(f"interrupted; --resume goes on with {checkpoint}", flush=True)
            raise

    def _write(self, training: Training) -> None:
        from splatview.formats import save
        from splatview.scene import Layer, Scene

        capture = training.capture
        layer = Layer(training.value(), capture.field_from_world.inverse(), viewpoints=capture.viewpoints)
        with users_fault(ValueError, OSError), waiting(f"writing {self.target}") as progress:
            save(Scene({self.target.stem: layer}), self.target, progress=progress)

    def _tell(self, training: Training) -> None:
        from splatview.fit.quality import psnr, ssim

        size = f"{self.target.stat().st_size / 1e6:,.1f} MB"
        print(f"{self.target}: {training.steps:,} steps, {training.field.table.numel():,} numbers in the tables, {size}")
        if not training.held_out:
            return
        found = []
        with waiting("comparing with the photos held out") as progress:
            for place, photo in enumerate(training.held_out):
                shown, truth = training.shown(photo)
                found.append((photo.name, psnr(shown, truth), ssim(shown, truth)))
                progress((place + 1) / len(training.held_out), photo.name)
        for name, decibels, likeness in found:
            print(f"  {name:<24} PSNR {decibels:5.2f} dB   SSIM {likeness:.3f}")
        _, decibels, likeness = zip(*found, strict=True)
        print(f"  {len(found)} photos held out: mean PSNR {np.mean(decibels):.2f} dB, mean SSIM {np.mean(likeness):.3f}")


@dataclass(frozen=True)
class Audience:
    """Who is told how a training goes: the terminal, and a page, if there is one."""

    progress: Callable[[float, str], None]
    watching: Watching | None = None

    @property
    def stopping(self) -> bool:
        return self.watching is not None and self.watching.stopping

    def told(self, standing: Standing) -> None:
        quality = "" if standing.psnr is None else f", {standing.psnr:.1f} dB"
        text = f"step {standing.steps:,}, loss {standing.loss:.5f}{quality}, {standing.minutes_left:.1f} min left"
        self.progress(standing.fraction, text)
        if self.watching is not None:
            self.watching.step(standing)


def preview(training: Training) -> float:
    """PSNR of the first photo held out, looked at small."""
    import cv2

    from splatview.fit.capture import Photo
    from splatview.fit.quality import psnr

    photo = training.held_out[0]
    scale = min(1.0, PREVIEW / max(photo.lens.width, photo.lens.height))
    width, height = max(1, round(scale * photo.lens.width)), max(1, round(scale * photo.lens.height))
    pixels = cv2.resize(photo.pixels, (width, height), interpolation=cv2.INTER_AREA)
    shown, truth = training.shown(Photo(photo.name, np.asarray(pixels, np.uint8), photo.lens.sized(width, height), photo.world_from_camera))
    return psnr(shown, truth)
