"""Styles by name: controls as people left them, in one JSON file."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from splatview.stylize.diffusing import Diffusing, Phrase

VERSION = 1
DIFFUSION = "diffusion"  # the kind of styles that a model draws
LARGEST = 4 << 20  # bytes of a file
LONGEST = 100  # characters of a name

LOOKS = {
    "watercolour": "a watercolour painting, soft light, paper texture",
    "oil": "an oil painting, thick brush strokes, rich colours",
    "ink": "an ink drawing, bold black lines on white paper",
    "pencil": "a pencil sketch, fine hatching, graphite on paper",
    "anime": "an anime background painting, bright sky, clean shapes",
    "clay": "a stop-motion set made of clay, soft studio light",
    "neon": "a city at night, neon light, rain, reflections, cinematic",
    "ukiyo-e": "a Japanese woodblock print, flat colours, fine outlines",
    "stained glass": "stained glass, glowing colours, lead lines",
    "paper": "a diorama of cut paper, layered, soft shadows",
    "winter": "deep winter, snow on everything, cold blue light",
    "ruins": "overgrown ruins, moss and ivy, misty morning",
    "blueprint": "a blueprint, white lines on deep blue",
    "low poly": "low poly, flat shading, pastel colours",
    "film": "a film still, golden hour, shallow depth of field, grain",
    "marble": "everything carved from white marble, museum light",
}
BUILT_IN = {name: Diffusing(prompt=(Phrase(text),)) for name, text in LOOKS.items()}


class Library:
    """The styles in `path`, which need not exist yet, and those that come with splatview; each a value of one of `kinds`, by their names.

    What others write into the file meanwhile is kept: it is read again before it is written. ValueError: it is none of ours.
    """

    def __init__(self, path: Path, kinds: Mapping[str, type] | None = None) -> None:
        self.path = path
        self._kinds = {DIFFUSION: Diffusing, **(kinds or {})}

    def names(self) -> list[str]:
        """Those that people saved, then those that come with it."""
        return list(self.kinds())

    def kinds(self) -> dict[str, str]:
        """The kind of each, by name in the order of `names`."""
        saved = self._saved()
        own = {name: str(saved[name].get("kind")) for name in sorted(saved)}
        return own | {name: DIFFUSION for name in BUILT_IN if name not in own}

    def own(self) -> frozenset[str]:
        """The names of those that people saved."""
        return frozenset(self._saved())

    def load(self, name: str) -> Any:
        """The controls that were saved as `name`; KeyError if there are none."""
        saved = self._saved()
        return self._value(name, saved[name]) if name in saved else BUILT_IN[name]

    def save(self, name: str, controls: Any) -> None:
        """Keep `controls` as `name`, in the place of what had this name."""
        if not (name.strip() and len(name) <= LONGEST and name.isprintable()):
            raise ValueError(f"the name of a style: expected 1 to {LONGEST} characters in one line, got {name!r:.120}")
        self._write({**self._saved(), name: self.entry(controls)})

    def entry(self, controls: Any) -> dict[str, Any]:
        """`controls` as JSON has them; ValueError if they are of none of the kinds."""
        kind = next((kind for kind, made in self._kinds.items() if type(controls) is made), None)
        if kind is None:
            raise ValueError(
                f"a style: expected a value of {', '.join(made.__name__ for made in self._kinds.values())}, got {controls!r:.120}"
            )
        return {"kind": kind, "controls": msgspec.to_builtins(controls)}

    def controls(self, entry: Any) -> Any:
        """And back; ValueError if they are none."""
        found = entry if isinstance(entry, Mapping) else {}
        kind = self._kinds.get(str(found.get("kind")))
        if kind is None:
            raise ValueError(f"unknown kind, {found.get('kind')!r:.40}")
        return msgspec.convert(found.get("controls"), kind)

    def remove(self, name: str) -> None:
        """Forget what people saved as `name`; KeyError if they did not."""
        saved = dict(self._saved())
        del saved[name]
        self._write(saved)

    def _saved(self) -> Mapping[str, Mapping[str, Any]]:
        try:
            size = self.path.stat().st_size
            content = self.path.read_bytes() if size <= LARGEST else b""
        except FileNotFoundError:
            return {}
        try:
            found = msgspec.json.decode(content, type=dict[str, Any])
            styles = msgspec.convert(found.get("styles"), dict[str, dict[str, Any]])
        except (msgspec.DecodeError, RecursionError):
            raise ValueError(f"{self.path}: expected a JSON file of styles; move it away to begin a new one") from None
        if found.get("version") != VERSION:
            raise ValueError(f"{self.path}: expected styles of version {VERSION}, got {found.get('version')!r:.40}")
        return styles

    def _value(self, name: str, saved: Mapping[str, Any]) -> Any:
        try:
            return self.controls(saved)
        except ValueError as error:  # msgspec's are
            raise ValueError(f"{self.path}: the style {name!r}: {error}") from None

    def _write(self, styles: Mapping[str, Any]) -> None:
        """The whole file or nothing of it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = msgspec.json.format(msgspec.json.encode({"version": VERSION, "styles": styles}), indent=2)
        with tempfile.NamedTemporaryFile(dir=self.path.parent, prefix=f".{self.path.name}.", delete=False) as file:
            try:
                file.write(content + b"\n")
                file.close()
                Path(file.name).replace(self.path)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise


def looked(controls: Diffusing, look: Diffusing) -> Diffusing:
    """`look`, if people saved it; of those that come with splatview only the words, with the numbers of `controls`."""
    return replace(controls, prompt=look.prompt, negative=look.negative) if look in BUILT_IN.values() else look


def randomised(controls: Diffusing, random: np.random.Generator) -> Diffusing:
    """Another look, with other noise: one or two of those that come with splatview, changing as much as is fun. The rest stays."""
    looks = random.permutation(list(LOOKS.values()))[: 1 + int(random.integers(2))]
    prompt = tuple(Phrase(str(text), round(float(random.uniform(0.3, 1)), 2)) for text in looks)
    strength = round(float(random.uniform(0.4, 0.8)), 2)
    return replace(controls, prompt=prompt, seed=int(random.integers(2**31)), strength=strength, indices=())
