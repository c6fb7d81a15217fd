"""`splatview convert`: a scene in another format, cut, cropped or moved."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from splatview.cli.changes import ChangeFlags
from splatview.cli.documents import DocumentFlags
from splatview.cli.faults import UserError, users_fault
from splatview.cli.flags import MAYBE_NUMBER, MaybeLevel
from splatview.cli.waiting import waiting
from splatview.scene import Scene


@dataclass(frozen=True)
class Command:
    """Write a scene, or what a document (.splatview) has made of one, in another format, cut, cropped or moved.

    The source's format is told from its content, the target's from its name. What is lost on the way is said.

    With --gaussians a hash-grid field becomes Gaussians, which the tools for splats can edit; how much they look like it is told by the
    PSNR of their pictures over an orbit.

    Example: splatview convert garden.ply garden.spz --min-opacity 0.01

    Example: splatview convert garden.splatview garden.sog

    Example: splatview convert fox.ingp fox.ply --gaussians 200000
    """

    source: Annotated[Positional[Path], arg(metavar="SOURCE")]
    """A scene file, the folder of a training run, or a document."""
    target: Annotated[Positional[Path], arg(metavar="TARGET")]
    """The file to write: .ply, .compressed.ply, .splat, .spz, .sog, .glb, .gltf, or .ingp for a field. One that is there is replaced."""
    level: MaybeLevel = None
    """Level of detail of a streamed source, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    spz_version: Literal[3, 4] = 3
    """Version of a .spz: 3 is read everywhere; 4 is smaller and holds SH degree 4."""
    gaussians: Annotated[int | None, MAYBE_NUMBER] = None
    """How many Gaussians a hash-grid field becomes."""
    seed: int = 0
    """Of what is random when it does."""
    changes: OmitArgPrefixes[ChangeFlags] = field(default_factory=ChangeFlags)
    documents: OmitArgPrefixes[DocumentFlags] = field(default_factory=DocumentFlags)

    def run(self) -> None:
        from splatview.formats import save

        change = self.changes.resolved()
        scene = self.documents.state([self.source], self.level, "auto").result()
        self._check(scene)
        alike = ""
        if self.gaussians is not None:
            from splatview.cli.splatting import likeness, with_splats

            scene, fields = with_splats(scene, self.gaussians, self.seed), scene
            alike = likeness(fields, scene)
        changed = change.apply(scene)
        if not (changed.count or changed.visible_fields):
            raise UserError(f"nothing is left of the {scene.count:,} Gaussians of {self.source}: loosen the flags that remove some")
        with users_fault(ValueError, OSError, ImportError), waiting(f"writing {self.target}") as progress:
            notes = save(changed, self.target, spz_version=self.spz_version, progress=progress)
        for note in (*(note for layer in scene.layers.values() for note in layer.notes), *notes):
            print(f"note: {note}")
        size = f"{self.target.stat().st_size / 1e6:,.1f} MB"
        if self._is_field:
            print(f"{self.target}: a hash-grid field, {size}")
            return
        removed = f" ({scene.count - changed.count:,} removed)" if changed.count < scene.count else ""
        print(f"{self.target}: {changed.count:,} Gaussians{removed}, {size}{alike}")

    @property
    def _is_field(self) -> bool:
        return self.target.suffix.lower() == ".ingp"

    def _check(self, scene: Scene) -> None:
        """UserError if fields and --gaussians do not go together."""
        if self.gaussians is None:
            if scene.visible_fields and not self._is_field:
                raise UserError(
                    f"{self.source} is a hash-grid field: --gaussians N makes N Gaussians of it; as a field it is saved as .ingp"
                )
        elif self.gaussians < 1:
            raise UserError(f"--gaussians: expected 1 or more, got {self.gaussians}")
        elif self._is_field:
            raise UserError(f"--gaussians: expected a target that holds Gaussians, got {self.target}")
        elif not scene.visible_fields:
            raise UserError(f"--gaussians: expected a hash-grid field to be made into splats, found none in {self.source}")
        elif not self.target.absolute().parent.is_dir():  # told before minutes are spent
            raise UserError(f"{self.target}: there is no folder {self.target.absolute().parent}")
