"""Styles as flags: what each can be told, and how a stylizer is made of it."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

from tyro.conf import UseAppendAction, arg

from splatview.cli.ending import held_back
from splatview.cli.faults import UserError, users_fault
from splatview.extras import need
from splatview.stylize import Stylizer, hub
from splatview.stylize.catalogue import DEFAULT, Choice
from splatview.stylize.controls import sliders
from splatview.stylize.diffusing import Diffusing, phrases_of, text_of
from splatview.stylize.filters import FILTERS
from splatview.stylize.library import DIFFUSION, Library, looked
from splatview.stylize.nature import usual_of
from splatview.stylize.noise import CarriedNoise, HashedNoise, Noise
from splatview.stylize.onnx_style import Channels, Declared, Redrawing, Values, open_onnx
from splatview.stylize.opening import PACKAGES, open_diffusion

if TYPE_CHECKING:
    from splatview.stylize.diffusion import Diffusion

TAKEN = ("size",)  # names of flags of the command: a style's own carries its name, --halftone-size

Accelerator = Literal["auto", "eager", "compile", "graphs", "tensorrt"]  # as `acceleration` has it, which needs PyTorch
Flag = tuple[str, Any, Any]  # a name, a type with how it is told, and the field of a dataclass


@dataclass(frozen=True)
class Kind:
    """A style that can be chosen."""

    what: str  # for people, in one line
    controls: type  # a dataclass of what can be turned
    open: Callable[[Any, Any], Stylizer]  # of a value of these, and all flags
    more: Callable[[Any], Sequence[Flag]] = lambda value: ()  # flags beside them, of a value that says what is usual
    without: tuple[str, ...] = ()  # fields that are no flags

    def flags(self, name: str, value: Any, without: Sequence[str] = ()) -> type:
        """A dataclass of the flags, but for those `without`; what is not given is as `value` has it."""
        hints, ends = get_type_hints(self.controls), sliders(self.controls)
        made = [one for one in self.more(value) if one[0] not in without]
        for one in fields(self.controls):
            if one.name not in self.without:
                text = one.metadata.get("help", "")
                if one.name in ends:
                    text += f"; {ends[one.name].least:g} to {ends[one.name].most:g}"
                made.append(
                    (
                        one.name,
                        Annotated[hints[one.name], arg(name=_flag(name, one.name), help=text)],
                        field(default=getattr(value, one.name)),
                    )
                )
        return make_dataclass(self.controls.__name__, made, frozen=True)

    def value(self, name: str, flags: Any, usual: Any) -> Any:
        """The controls that `flags` tell; UserError, which names the flag, for a number beyond its ends."""
        told = {one.name: getattr(flags, one.name, getattr(usual, one.name)) for one in fields(self.controls)}
        for number, ends in sliders(self.controls).items():
            if not ends.least <= told[number] <= ends.most:
                raise UserError(f"--{_flag(name, number)}: expected {ends.least:g} to {ends.most:g}, got {told[number]:g}")
        if "prompt" in told:
            told["prompt"] = phrases_of(flags.prompt)
        try:
            return self.controls(**told)
        except ValueError as error:  # it names a field, and people gave a flag
            raise UserError(re.sub(rf"\b{self.controls.__name__}\.(\w+)", lambda of: f"--{_flag(name, of[1])}", str(error))) from error


def chosen(arguments: Sequence[str], usual: str = "") -> str:
    """The style that a command line names, before anything else of it is read; `usual` (the first one) if it names none."""
    return _given(arguments, "--style", usual or next(iter(KINDS)))


def _given(arguments: Sequence[str], flag: str, usual: str) -> str:
    """What a command line gives to `flag`, before anything else of it is read."""
    found, words = usual, iter(arguments)
    for word in words:
        if word == flag:
            found = next(words, "")
        elif word.startswith(f"{flag}="):
            found = word.removeprefix(f"{flag}=")
    return found


def flags_of(name: str, arguments: Sequence[str], without: Sequence[str] = ()) -> type:
    """The flags of the style `name`, but for those `without`; UserError if there is none such.

    What is usual is what suits the model that `arguments` name.
    """
    key, kind, usual = _known(name, _given(arguments, "--model", DEFAULT))
    return kind.flags(key, usual, without)


def opened(name: str, flags: Any) -> Stylizer:
    """The stylizer of the style `name`; UserError if it cannot be had, or a number is none of its."""
    key, kind, usual = _known(name, getattr(flags, "model", DEFAULT))
    with users_fault(ValueError, OSError, ImportError):
        return kind.open(kind.value(key, flags, usual), flags)


def controls_of(name: str, flags: Any) -> Any:
    """The controls of the style `name` that `flags` tell; UserError for a number that is none of its."""
    key, kind, usual = _known(name, getattr(flags, "model", DEFAULT))
    with users_fault(ValueError):
        return kind.value(key, flags, usual)


def about(stylizer: Any) -> str:
    """What a stylizer that was opened says of itself, in one line: where it runs, and what is not as it could be; "" of filters."""
    return "; ".join(f"{one:.200}" for one in getattr(getattr(stylizer, "network", stylizer), "about", ()))


def overview() -> str:
    """All styles, a line each, for the help text."""
    return "\n".join(f"  {name:<12} {kind.what}" for name, kind in KINDS.items())


def with_flag(flag: str) -> list[str]:
    """The styles that have the flag `flag`."""
    shown = lambda name, field: flag == f"--{_flag(name, field).replace('_', '-')}"
    return [name for name, kind in KINDS.items() if any(shown(name, one.name) for one in fields(kind.flags(name, kind.controls())))]


def _known(name: str, model: str) -> tuple[str, Kind, Any]:
    """The name of the kind of a style, the kind, and the usual controls: what suits the `model` of diffusion, or what somebody saved."""
    if name in KINDS:
        return name, KINDS[name], usual_of(model) if name == DIFFUSION else KINDS[name].controls()
    if name.lower().endswith(".onnx"):
        return "onnx", replace(KINDS["onnx"], more=partial(_network_flags, model=Path(name))), Redrawing()
    from splatview.viewer.styles import SAVED, label_of, styles_file

    library = Library(styles_file(), SAVED)
    with users_fault(ValueError, OSError):
        names = library.names()
        labels = {label_of(one, kind): one for one, kind in library.kinds().items()}  # for names that kinds have, too
        if name in names or name in labels:
            value = library.load(labels.get(name, name))
            if type(value) is Diffusing:
                value = looked(usual_of(model), value)
            return next((key, kind, value) for key, kind in KINDS.items() if type(value) is kind.controls)
    known = [*KINDS, *(one for one in names if one not in KINDS)]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean {close[0]}?" if close else ""
    raise UserError(f"--style: expected one of {', '.join(KINDS)}, an .onnx file, or a saved style; got {name!r}{hint}")


def _flag(kind: str, name: str) -> str:
    return f"{kind}-{name}" if name in TAKEN else name.replace("_", "-")


def _told(name: str, kind: Any, default: Any, text: str, **more: Any) -> Flag:
    return name, Annotated[kind, arg(help=text, **more)], field(default=default) if default is not None else field()


def _network_flags(value: Any, model: Path | None = None) -> Sequence[Flag]:
    return (
        _told("model", Path, model or (Path(value.file) if value.file else None), "The ONNX file", metavar="FILE"),
        _told("channels", Channels, "auto", "The order of colours that it wants; auto: as it says, or as is found out"),
        _told("values", Values, "auto", "The range of numbers that it wants"),
    )


def _diffusion_flags(value: Diffusing) -> Sequence[Flag]:
    names = UseAppendAction[tuple[str, ...]]
    return (
        _told("prompt", str, text_of(value.prompt), "What shall be seen; 'a | b: 0.5' blends two, by weight", metavar="TEXT"),
        _told("model", str, DEFAULT, "A name that `splatview models` lists, a hub id, or a folder", metavar="NAME"),
        _told("vae", str, "", "Another autoencoder. Default: the small one that fits", metavar="NAME", help_behavior_hint=""),
        _told("lora", names, (), "A LoRA, perhaps with how much of it; may be given several times", metavar="NAME[=AMOUNT]"),
        _told("controlnet", names, (), "A ControlNet of the list, or HINT=NAME; may be given several times", metavar="NAME"),
        _told("device", Literal["auto", "cpu", "cuda"], "auto", "Where it is computed"),
        _told("grain", Literal["surfaces", "world", "screen"], "surfaces", "What its noise sticks to"),
        _told("accelerator", Accelerator, "auto", "How it is run; what does not work here is left out, in favour of the next"),
    )


def _diffusion(controls: Diffusing, flags: Any) -> Stylizer:
    return diffusion(controls, flags, {"surfaces": CarriedNoise, "world": HashedNoise}.get(flags.grain))


def diffusion(controls: Diffusing, flags: Any, noise: Callable[[int], Noise] | None) -> Diffusion:
    """The diffusion stylizer that `flags` tell, with noise that `noise` makes of seeds (None: fixed to the screen)."""
    choice = Choice(flags.model, flags.vae, tuple(map(_lora, flags.lora)), flags.controlnet, flags.device)
    need("the diffusion stylizer", "stylize", *PACKAGES)
    for name in (flags.model, *([flags.vae] if flags.vae else ())):
        hub.located(name)  # before torch comes, which takes seconds
    with held_back():
        from splatview.stylize import models  # noqa: F401 (what opens them)
        from splatview.stylize.diffusion import Around

    return open_diffusion(choice, controls, Around(noise, accelerator=flags.accelerator))


def _lora(text: str) -> tuple[str, float]:
    """A LoRA and how much of it, as written: name or name=0.8."""
    name, _, amount = text.partition("=")
    try:
        found = float(amount or 1)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise UserError(f"--lora: expected NAME or NAME=AMOUNT, got {text}")
    return name, found


KINDS: dict[str, Kind] = {
    **{name: Kind((one.__doc__ or "").splitlines()[0], one, lambda controls, flags: controls) for name, one in FILTERS.items()},
    "onnx": Kind(
        "A small network from an ONNX file.",
        Redrawing,
        lambda controls, flags: open_onnx(flags.model, Declared(flags.channels, flags.values), controls),
        _network_flags,
        ("file",),
    ),
    DIFFUSION: Kind("A diffusion model, told in words.", Diffusing, _diffusion, _diffusion_flags, ("prompt", "transition")),
}
