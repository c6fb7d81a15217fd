"""Styles as flags: what each can be told, and how a stylizer is made of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from tyro.conf import UseAppendAction, arg

from splatview.cli.faults import UserError, users_fault
from splatview.extras import need
from splatview.stylize import Stylizer, hub
from splatview.stylize.catalogue import DEFAULT, Choice
from splatview.stylize.controls import sliders
from splatview.stylize.diffusing import Diffusing, phrases_of, text_of
from splatview.stylize.filters import FILTERS
from splatview.stylize.noise import CarriedNoise, HashedNoise
from splatview.stylize.onnx_style import Channels, Declared, Redrawing, Values, open_onnx
from splatview.stylize.opening import PACKAGES, open_diffusion

TAKEN = ("size",)  # names of flags of the command: a style's own carries its name, --halftone-size

Accelerator = Literal["auto", "eager", "compile", "graphs", "tensorrt"]  # as `acceleration` has it, which needs PyTorch
Grain = Literal["surfaces", "world", "screen"]


@dataclass(frozen=True)
class Kind:
    """A style that can be chosen."""

    what: str  # for people, in one line
    flags: type  # a dataclass of them
    open: Callable[[Any], Stylizer]  # of a value of that


def chosen(arguments: Iterable[str]) -> str:
    """The style that a command line names, before anything else of it is read; UserError if there is none such."""
    words, name = iter(arguments), next(iter(KINDS))
    for word in words:
        if word == "--style":
            name = next(words, "")
        elif word.startswith("--style="):
            name = word.removeprefix("--style=")
    if name not in KINDS:
        close = difflib.get_close_matches(name, KINDS, n=1)
        raise UserError(f"--style: expected one of {', '.join(KINDS)}; got {name!r}{f'; did you mean {close[0]}?' if close else ''}")
    return name


def opened(name: str, flags: Any) -> Stylizer:
    """The stylizer of a style; UserError if it cannot be had, or a number is none of its."""
    with users_fault(ValueError, OSError, ImportError):
        return KINDS[name].open(flags)


def overview() -> str:
    """All styles, a line each, for the help text."""
    return "\n".join(f"  {name:<12} {kind.what}" for name, kind in KINDS.items())


def flags_of(name: str, controls: type, more: Iterable[tuple[str, Any, Any]] = (), without: Iterable[str] = ()) -> type:
    """The fields of a dataclass of controls as flags of the style `name`, after `more`."""
    hints, ends = get_type_hints(controls), sliders(controls)
    made: list[Any] = list(more)
    for one in fields(controls):
        if one.name in without:
            continue
        text = one.metadata.get("help", "")
        if one.name in ends:
            text += f"; {ends[one.name].least:g} to {ends[one.name].most:g}"
        flag = f"{name}-{one.name}" if one.name in TAKEN else one.name.replace("_", "-")
        default = field(default=one.default) if one.default is not MISSING else field()
        made.append((one.name, Annotated[hints[one.name], arg(name=flag, help=text)], default))
    return make_dataclass(controls.__name__, made, frozen=True)


def controls_of(name: str, controls: type, flags: Any, **more: Any) -> Any:
    """A value of a dataclass of controls, of its flags and `more`. UserError, which names the flag, for a number beyond its ends."""
    told = {one.name: getattr(flags, one.name) for one in fields(controls) if hasattr(flags, one.name)}
    for field_name, ends in sliders(controls).items():
        if field_name in told and not ends.least <= told[field_name] <= ends.most:
            flag = f"{name}-{field_name}" if field_name in TAKEN else field_name.replace("_", "-")
            raise UserError(f"--{flag}: expected {ends.least:g} to {ends.most:g}, got {told[field_name]:g}")
    return controls(**{**told, **more})


def _filter(name: str, controls: type) -> Kind:
    what = (controls.__doc__ or "").splitlines()[0]
    return Kind(what, flags_of(name, controls), lambda flags: controls_of(name, controls, flags))


def _network(flags: Any) -> Stylizer:
    controls = controls_of("onnx", Redrawing, flags)
    return open_onnx(flags.model, Declared(flags.channels, flags.values), controls)


def _diffusion(flags: Any) -> Stylizer:
    controls = controls_of("diffusion", Diffusing, flags, prompt=phrases_of(flags.prompt))
    choice = Choice(flags.model, flags.vae, tuple(map(_lora, flags.lora)), flags.controlnet, flags.device)
    need("the diffusion stylizer", "stylize", *PACKAGES)
    hub.located(flags.model)  # before torch comes, which takes seconds
    from splatview.stylize.diffusion import Around

    noise = {"surfaces": CarriedNoise, "world": HashedNoise}.get(flags.grain)
    return open_diffusion(choice, controls, Around(noise_of=noise(flags.seed)) if noise else None)


def _lora(text: str) -> tuple[str, float]:
    """A LoRA and how much of it, as written: name or name=0.8."""
    name, _, amount = text.partition("=")
    try:
        return name, float(amount or 1)
    except ValueError:
        raise UserError(f"--lora: expected NAME or NAME=AMOUNT, got {text}") from None


def _told(kind: Any, default: Any, text: str, **more: Any) -> tuple[Any, Any]:
    return Annotated[kind, arg(help=text, **more)], field() if default is MISSING else field(default=default)


_NETWORK = (
    ("model", *_told(Path, MISSING, "The ONNX file", metavar="FILE")),
    ("channels", *_told(Channels, "auto", "The order of colours that it wants; auto: as it says, or as is found out")),
    ("values", *_told(Values, "auto", "The range of numbers that it wants")),
)
_DIFFUSION = (
    ("prompt", *_told(str, text_of(Diffusing().prompt), "What shall be seen; 'a | b: 0.5' blends two, by weight", metavar="TEXT")),
    ("model", *_told(str, DEFAULT, "A name that `splatview models` lists, a hub id, or a folder", metavar="NAME")),
    ("vae", *_told(str, "", "Another autoencoder; the small one that fits is the default", metavar="NAME", help_behavior_hint="")),
    (
        "lora",
        *_told(
            UseAppendAction[tuple[str, ...]], (), "A LoRA, perhaps with how much of it; may be given several times", metavar="NAME[=AMOUNT]"
        ),
    ),
    (
        "controlnet",
        *_told(UseAppendAction[tuple[str, ...]], (), "A ControlNet of the list, or HINT=NAME; may be given several times", metavar="NAME"),
    ),
    ("device", *_told(Literal["auto", "cpu", "cuda"], "auto", "Where it is computed")),
    ("grain", *_told(Grain, "surfaces", "What its noise sticks to")),
    ("accelerator", *_told(Accelerator, "auto", "How it is run; what does not work here is left out, in favour of the next")),
)

KINDS: dict[str, Kind] = {
    **{name: _filter(name, controls) for name, controls in FILTERS.items()},
    "onnx": Kind("A small network from an ONNX file.", flags_of("onnx", Redrawing, _NETWORK), _network),
    "diffusion": Kind(
        "A diffusion model, told in words.", flags_of("diffusion", Diffusing, _DIFFUSION, ("prompt", "transition")), _diffusion
    ),
}
