"""`splatview distill`: a smaller diffusion model from a larger one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_FILE, MAYBE_NUMBER
from splatview.cli.waiting import waiting
from splatview.extras import MissingExtra, need
from splatview.render import Backend
from splatview.stylize import hub
from splatview.stylize.catalogue import Choice, name_of
from splatview.stylize.library import LOOKS
from splatview.stylize.opening import PACKAGES

if TYPE_CHECKING:
    from splatview.stylize.distillation import Distillation, Lessons
    from splatview.stylize.parts import Model

SAVE_EVERY = 45.0  # seconds between two checkpoints
SAY_EVERY = 0.5
MINUTES = {"cpu": 60.0, "cuda": 30.0}
SIZES = {"cpu": 256, "cuda": 512}
BATCHES = {"cpu": 2, "cuda": 4}


@dataclass(frozen=True)
class Command:
    """Train a narrower, quicker denoiser that draws as a diffusion model does, on pictures like those that it shall redraw.

    It begins with the strongest channels of its teacher, and learns what that predicts for some prompts. The model that is written is found
    by its name, as all others are (`splatview models`). A checkpoint beside it lets an interrupted training go on (--resume).

    Example: splatview distill --teacher sd-turbo --data scenes/led_stage.spz --compress 0.5
    """

    teacher: Annotated[str, arg(metavar="NAME")]
    """The model that is learned from: a name of `splatview models`, a hub id, or a folder."""
    data: Annotated[str, arg(metavar="PICTURES")]
    """Pictures (a folder, or a pattern in quotes: 'out/*.png'), or a scene, which is then drawn from all around."""
    compress: float = 0.5
    """The share of its channels that is kept. Half of them make a quarter of the numbers."""
    output: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="", aliases=["-o"])] = None
    """Where the model is written: a new folder. Default: distilled/NAME-COMPRESS in the folder of models."""
    minutes: Annotated[float | None, MAYBE_NUMBER] = None
    """How long to train. Default: 60, with a GPU 30."""
    steps: Annotated[int | None, MAYBE_NUMBER] = None
    """How many steps at most."""
    prompt: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="TEXT", help_behavior_hint="")] = ()
    """A prompt that it shall follow; may be given several times. Default: those of the looks that come with splatview."""
    views: int = 100
    """Pictures of a scene."""
    camera: Annotated[Path | None, MAYBE_FILE] = None
    """Draw the scene from the cameras of this file instead (see `splatview render --help`)."""
    size: Annotated[int | None, MAYBE_NUMBER] = None
    """Side of a square with as many pixels as the pictures have. Default: 256, with a GPU 512."""
    batch: Annotated[int | None, MAYBE_NUMBER] = None
    """Pictures of a step. Default: 2, with a GPU 4."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train."""
    backend: Backend = "auto"
    """What draws the scene."""
    resume: bool = False
    """Go on with the training that was interrupted."""
    restart: bool = False
    """Begin anew, although one was interrupted."""
    seed: int = 0
    """Of everything that is random."""

    def run(self) -> None:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # torch's threads would spin: on a machine that others use, too, twice the time
        self._check()
        checkpoint = self.target.with_name(f"{self.target.name}.ckpt")
        if checkpoint.exists() and not (self.resume or self.restart):
            raise UserError(f"{checkpoint} holds a training that was interrupted: --resume goes on with it, --restart begins anew")
        if self.resume and not checkpoint.exists():
            raise UserError(f"--resume: expected the checkpoint of a training, there is no {checkpoint}")
        with users_fault(MissingExtra):
            need("distillation", "stylize", *PACKAGES)
        import torch

        from splatview.stylize import checkpoints
        from splatview.stylize.models import load

        if self.device == "cuda" and not torch.cuda.is_available():
            raise UserError("--device cuda: PyTorch sees no GPU here; `splatview doctor` says more")
        with users_fault(ValueError, OSError), waiting(f"reading {self.teacher}"):
            folder = hub.located(self.teacher)
            teacher = load(Choice(self.teacher, device=self.device))
        lessons = self._lessons(teacher)
        training, first, spent = self._begun(teacher, lessons, checkpoint)
        minutes = self.minutes if self.minutes is not None else None if self.steps else MINUTES[teacher.device.type]
        with waiting(f"training {self.target.name}") as progress:
            self._train(training, Told(first, spent, checkpoint, progress), 60 * minutes if minutes is not None else None)
        self._write(training, folder, first)
        if checkpoint.exists():
            checkpoints.remove(checkpoint)

    @property
    def target(self) -> Path:
        if self.output is not None:
            return self.output.absolute()
        name = name_of(self.teacher) if hub.REPO.fullmatch(self.teacher) else Path(self.teacher).name
        return hub.home() / "distilled" / f"{name.replace('/', '-')}-{self.compress:g}"

    def _check(self) -> None:
        if self.target.exists():
            raise UserError(f"{self.target}: expected a new folder, there is something of this name: --output names another")
        if not 0 < self.compress <= 1:
            raise UserError(f"--compress: expected a share over 0 and up to 1, got {self.compress:g}")
        if (self.minutes is not None and not self.minutes > 0) or (self.steps is not None and self.steps < 1):
            raise UserError("--minutes, --steps: expected more than 0")
        if self.resume and self.restart:
            raise UserError("--resume goes on and --restart begins anew: expected one of them")
        if self.size is not None and (self.size < 64 or self.size > 2048):
            raise UserError(f"--size: expected 64 to 2048, got {self.size}")
        if self.views < 1 or (self.batch is not None and self.batch < 1):
            raise UserError("--views, --batch: expected 1 or more")

    def _lessons(self, teacher: Model) -> Lessons:
        """Latents of the pictures."""
        from splatview.cli import footage
        from splatview.cli.inputs import pictures_among
        from splatview.stylize.distillation import lessons
        from splatview.stylize.pictures import fitting

        size = self.size or SIZES[teacher.device.type]
        fit = lambda height, width: fitting(height, width, size)
        paths = pictures_among([self.data]) or []
        found = footage.read(paths, fit) if paths else footage.drawn(Path(self.data), self.views, self.camera, self.backend, fit)
        count = len(paths) or self.views
        with waiting("looking at pictures") as progress:

            def counted():
                for number, picture in enumerate(found):
                    progress(min(1.0, number / count), f"{number + 1} of {count}")
                    yield picture

            prompts = self.prompt or ("", *LOOKS.values())
            with users_fault(ValueError):
                learned = lessons(teacher, counted(), prompts)
        height, width = (8 * side for side in learned.latents.shape[-2:])
        taught, held_out = len(learned.latents) // 2, len(learned.held_out) // 2
        where = "the GPU" if teacher.device.type == "cuda" else "the CPU"
        print(f"{self.data}: {taught + held_out} pictures of {width} x {height}, {held_out} held out; training on {where}", flush=True)
        return learned

    def _begun(self, teacher: Model, lessons: Lessons, checkpoint: Path) -> tuple[Distillation, float, float]:
        """The training, how large its error was at first, and the seconds that went into it before."""
        from splatview.stylize import checkpoints
        from splatview.stylize.distillation import Distillation, Recipe

        recipe = Recipe(self.compress, self.batch or BATCHES[teacher.device.type], seed=self.seed)
        with users_fault(ValueError, OSError), waiting("inheriting"):
            training = Distillation(teacher, lessons, recipe)
        mine, theirs = training.numbers
        print(f"{theirs / 1e6:,.1f} M numbers become {mine / 1e6:,.1f} M: {' '.join(map(str, training.widths))} channels", flush=True)
        if not self.resume:
            return training, training.error(), 0.0
        with users_fault(ValueError, OSError):
            tensors, facts = checkpoints.load(checkpoint)
            try:
                training.restore(tensors, facts)
                first, spent = float(facts["first"]), float(facts["seconds"])
            except (ValueError, KeyError) as error:
                raise ValueError(f"{checkpoint}: {error}") from None
        print(f"going on after {training.steps:,} steps", flush=True)
        return training, first, spent

    def _train(self, training: Distillation, told: Told, seconds: float | None) -> None:
        from splatview.stylize import checkpoints

        began = time.monotonic() - told.spent
        saved = said = time.monotonic()

        def save() -> None:
            tensors, facts = training.state()
            with users_fault(OSError):
                checkpoints.save(told.checkpoint, tensors, {**facts, "first": told.first, "seconds": time.monotonic() - began})

        try:
            while True:
                now = time.monotonic()
                parts = ((now - began) / seconds if seconds else 0.0, training.steps / self.steps if self.steps else 0.0)
                if max(parts) >= 1:
                    return
                errors = training.step(max(parts))
                if now - said > SAY_EVERY:
                    left = (now - began) / max(parts) * (1 - max(parts)) if max(parts) else 0.0
                    error, features = errors.tolist()
                    text = f"step {training.steps:,}, error {error:.4f}, features {features:.4f}, {left / 60:.1f} min left"
                    told.progress(max(parts), text)
                    said = now
                if now - saved > SAVE_EVERY:
                    save()
                    saved = now
        except KeyboardInterrupt:
            save()
            print(f"interrupted; --resume goes on with {told.checkpoint}", flush=True)
            raise

    def _write(self, training: Distillation, folder: Path, first: float) -> None:
        from splatview.stylize import saving
        from splatview.stylize.distillation import compared
        from splatview.stylize.models import load

        with users_fault(OSError), waiting(f"writing {self.target}"):
            self.target.parent.mkdir(parents=True, exist_ok=True)
            saving.write(training.model(), folder, self.target)
        with waiting("comparing with the teacher") as progress:
            student = load(Choice(str(self.target), device=self.device))
            likeness, mine, theirs = compared(student, training.teacher, training.lessons, progress)
        print(f"{self.target}: {training.steps:,} steps")
        print(f"  squared error of predictions held out: {training.error():.4f} of their size, at first {first:.4f}")
        print(f"  pictures of one step: {likeness:.1f} dB from the teacher's")
        print(f"  a call of the network: {1e3 * mine:,.1f} ms instead of {1e3 * theirs:,.1f}")


@dataclass(frozen=True)
class Told:
    """What a training knows of itself beside what it learns."""

    first: float  # its error before it began
    spent: float  # seconds, before it was interrupted
    checkpoint: Path
    progress: Callable[[float, str], None]
