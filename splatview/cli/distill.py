"""`splatview distill`: a smaller diffusion model from a larger one."""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import UseAppendAction, arg

from splatview.cli.ending import asked_to_end, ended_by_signals, held_back
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
MOST_AT_ONCE = 256  # a step takes memory for each of its pictures: the system would end us without a word


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
        with ended_by_signals():
            with users_fault(MissingExtra):
                need("distillation", "stylize", *PACKAGES)
            with held_back():
                import torch

                from splatview.stylize import checkpoints
                from splatview.stylize.models import load
            if self.device == "cuda" and not torch.cuda.is_available():
                raise UserError("--device cuda: PyTorch sees no GPU here; `splatview doctor` says more")
            with users_fault(ValueError, OSError), waiting(f"reading {self.teacher}"):
                folder = hub.located(self.teacher)
                teacher = load(Choice(self.teacher, device=self.device))
            lessons = self._lessons(teacher)
            training, told = self._begun(teacher, lessons)
            minutes = self.minutes if self.minutes is not None else None if self.steps else MINUTES[teacher.device.type]
            told = self._train(training, told, 60 * minutes if minutes is not None else None)
            try:
                self._write(training, folder)
            except BaseException:
                with suppress(UserError):  # what was learned is kept, if it can be, whatever keeps it from being written
                    self._save(training, told)
                    print(f"what was learned is kept; --resume goes on with {self.checkpoint}", flush=True)
                raise
            if self.checkpoint.exists():
                checkpoints.remove(self.checkpoint)
            self._compare(training, told.first)

    @property
    def target(self) -> Path:
        if self.output is not None:
            return self.output.absolute()
        name = name_of(self.teacher) if hub.REPO.fullmatch(self.teacher) else Path(self.teacher).name
        return hub.home() / "distilled" / f"{name.replace('/', '-')}-{self.compress:g}"

    @property
    def checkpoint(self) -> Path:
        return self.target.with_name(f"{self.target.name}{hub.UNFINISHED}")

    def _check(self) -> None:
        """UserError for what makes no sense or cannot be written, before anything is loaded."""
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
        if self.views < 1:
            raise UserError(f"--views: expected 1 or more, got {self.views}")
        if self.batch is not None and not 1 <= self.batch <= MOST_AT_ONCE:
            raise UserError(f"--batch: expected 1 to {MOST_AT_ONCE}, got {self.batch}")
        if not 0 <= self.seed < 1 << 63:
            raise UserError(f"--seed: expected a whole number from 0 on, below 2^63, got {self.seed}")
        there = self.checkpoint.exists()
        if there and not hub.is_unfinished(self.checkpoint):
            raise UserError(f"{self.checkpoint}: its training is kept there, and there is something else: --output names another place")
        if there and not (self.resume or self.restart):
            raise UserError(f"{self.checkpoint} holds a training that was interrupted: --resume goes on with it, --restart begins anew")
        if self.resume and not there:
            raise UserError(f"--resume: expected the checkpoint of a training, there is no {self.checkpoint}")
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=self.target.parent):
                pass
        except OSError as error:
            raise UserError(f"{self.target.parent}: nothing can be written there ({error.strerror})") from error

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
        pictures = f"{taught + held_out} picture{'s' * (taught + held_out != 1)} of {width} x {height}"
        print(f"{self.data}: {pictures}, {held_out} held out; training on {where}", flush=True)
        return learned

    def _begun(self, teacher: Model, lessons: Lessons) -> tuple[Distillation, Told]:
        """The training, perhaps one that was interrupted, and what is known of it."""
        from splatview.stylize import checkpoints
        from splatview.stylize.distillation import Distillation, Recipe

        recipe = Recipe(self.compress, self.batch or BATCHES[teacher.device.type], seed=self.seed)
        with users_fault(ValueError, OSError), waiting("inheriting"):
            training = Distillation(teacher, lessons, recipe)
        mine, theirs = training.numbers
        print(f"{theirs / 1e6:,.1f} M numbers become {mine / 1e6:,.1f} M: {' '.join(map(str, training.widths))} channels", flush=True)
        if not self.resume:
            return training, Told(training.error(), 0.0)
        with users_fault(ValueError, OSError):
            tensors, facts = checkpoints.load(self.checkpoint)
            try:
                training.restore(tensors, facts)
                told = Told(float(facts["first"]), float(facts["seconds"]))
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self.checkpoint}: {error}") from None
        print(f"going on after {training.steps:,} steps", flush=True)
        return training, told

    def _train(self, training: Distillation, told: Told, seconds: float | None) -> Told:
        """Train until it is over; what is known of it then. Somebody who ends it waits for a step to be whole, and for it to be saved."""
        began = time.monotonic() - told.spent
        saved = said = time.monotonic()
        with asked_to_end() as asked, waiting(f"training {self.target.name}") as progress:
            while True:
                now = time.monotonic()
                told = Told(told.first, now - began)
                parts = (told.spent / seconds if seconds else 0.0, training.steps / self.steps if self.steps else 0.0)
                if asked or max(parts) >= 1:
                    break
                errors = training.step(max(parts))
                if now - said > SAY_EVERY:
                    left = told.spent / max(parts) * (1 - max(parts)) if max(parts) else 0.0
                    error, features = errors.tolist()
                    progress(max(parts), f"step {training.steps:,}, error {error:.4f}, features {features:.4f}, {left / 60:.1f} min left")
                    said = now
                if now - saved > SAVE_EVERY:
                    self._save(training, told)
                    saved = now
            if asked:
                self._save(training, told)
        if asked:
            print(f"interrupted; --resume goes on with {self.checkpoint}", flush=True)
            raise asked[0]
        return told

    def _save(self, training: Distillation, told: Told) -> None:
        from splatview.stylize import checkpoints

        tensors, facts = training.state()
        with users_fault(OSError):
            checkpoints.save(self.checkpoint, tensors, {**facts, "first": told.first, "seconds": told.spent})

    def _write(self, training: Distillation, folder: Path) -> None:
        from splatview.stylize import saving

        with users_fault(OSError), waiting(f"writing {self.target}"):
            saving.write(training.model(), folder, self.target)

    def _compare(self, training: Distillation, first: float) -> None:
        from splatview.stylize.distillation import compared
        from splatview.stylize.models import load

        with users_fault(ValueError, OSError), waiting("comparing with the teacher") as progress:
            student = load(Choice(str(self.target), device=self.device))
            likeness, mine, theirs = compared(student, training.teacher, training.lessons, progress)
        print(f"{self.target}: {training.steps:,} step{'s' * (training.steps != 1)}")
        print(f"  squared error of predictions held out: {training.error():.4f} of their size, at first {first:.4f}")
        print(f"  pictures of one step: {likeness:.1f} dB from the teacher's")
        print(f"  a call of the network: {1e3 * mine:,.1f} ms instead of {1e3 * theirs:,.1f}")


@dataclass(frozen=True)
class Told:
    """What a training knows of itself beside what it learns."""

    first: float  # its error before it began
    spent: float  # seconds
