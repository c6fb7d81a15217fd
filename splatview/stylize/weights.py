"""What is in a folder of a model, and whether it is whole; nothing of it is run, or even loaded.

A safetensors file is 8 bytes for the length of a JSON header, the header (each tensor's type, shape and place), and the numbers.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from splatview.stylize.catalogue import Kind

LARGEST_HEADER = 100 << 20  # bytes, as the format says
BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F16": 16, "BF16": 16, "I16": 16, "U16": 16, "F32": 32, "I32": 32}
BITS |= {"U32": 32, "F64": 64, "I64": 64, "U64": 64}
INDEX = "model_index.json"
LORA = "pytorch_lora_weights.safetensors"
NEEDED = ("unet", "text_encoder", "tokenizer", "scheduler")
MAYBE = ("text_encoder_2", "tokenizer_2")  # of SDXL
STEMS = ("diffusion_pytorch_model", "model")  # of weights, as the libraries name and look for them
TOKENIZERS = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})


@dataclass(frozen=True)
class Contents:
    """A folder of a model, looked through."""

    kind: Kind | None  # None: it is none that is known
    numbers: int  # in its safetensors files
    types: tuple[str, ...]  # of them
    size: int  # bytes of all files
    problems: tuple[str, ...]  # one line each


def look_through(place: Path) -> Contents:
    """What is in a folder, or in a file that is a model by itself."""
    kind, problems, tensors = kind_of(place), [], {}
    folder = place.parent if place.is_file() else place
    inside = [place] if place.is_file() else sorted(place.rglob("*"))
    paths = [path for path in inside if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")]
    for path in paths:
        try:
            if path.suffix == ".safetensors":
                tensors |= {f"{path}:{name}": tensor for name, tensor in tensors_of(path).items()}
            elif path.suffix == ".json":
                json.loads(path.read_bytes())
        except RecursionError:
            problems.append(f"{path.relative_to(folder)}: expected JSON, it is nested too deeply")
        except (ValueError, OSError) as error:
            problems.append(f"{path.relative_to(folder)}: {error}")
    if not (place.is_file() and problems):  # of a broken file nothing can be said
        problems += _lacking(place, kind)
    count = sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    types = tuple(sorted({tensor["dtype"] for tensor in tensors.values()}))
    return Contents(kind, count, types, sum(path.stat().st_size for path in paths), tuple(problems))


def kind_of(folder: Path) -> Kind | None:
    """What kind of model lies in `folder`, or is in a file."""
    if folder.is_file():
        return _kind_of_file(folder)
    if (folder / INDEX).is_file():
        return "pipeline"
    if (folder / LORA).is_file():
        return "lora"
    if list(folder.glob("*_encoder.pth")) and list(folder.glob("*_decoder.pth")):
        return "vae"
    name = str(settings(folder / "config.json").get("_class_name", ""))
    return "controlnet" if name == "ControlNetModel" else "vae" if name.startswith("Autoencoder") else None


def _kind_of_file(path: Path) -> Kind | None:
    """A ControlNet in either layout, or a LoRA, by the names of its tensors."""
    try:
        names = tensors_of(path) if path.suffix == ".safetensors" else {}
    except (ValueError, OSError):
        return None
    if any("input_hint_block." in name or name.startswith("controlnet_cond_embedding.") for name in names):
        return "controlnet"
    return "lora" if any("lora" in name for name in names) else None


def tensors_of(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """The header of a safetensors file; ValueError if it is none, or if the file is longer or shorter than its header says."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(LARGEST_HEADER, size - 8):
            raise ValueError(f"expected a safetensors file, got {size:,} bytes that are none (cut off?)")
        try:
            header = json.loads(file.read(length))
            header.pop("__metadata__", None)
            ends = [_end(tensor) for tensor in header.values()]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise ValueError("expected the header of a safetensors file") from None
    if 8 + length + max(ends, default=0) != size:
        raise ValueError(f"expected {8 + length + max(ends, default=0):,} bytes, got {size:,} (cut off?)")
    return header


def _end(tensor: Mapping[str, Any]) -> int:
    begin, end = tensor["data_offsets"]
    if not (0 <= begin <= end and (end - begin) * 8 == math.prod(tensor["shape"]) * BITS[tensor["dtype"]]):
        raise ValueError("a tensor's place does not fit its shape")
    return end


def are_weights(name: str) -> bool:
    """Whether a file of that name is one of those that the libraries load."""
    return name.startswith(STEMS) and name.endswith(".safetensors") and "non_ema" not in name


def are_halves(name: str) -> bool:
    """Whether weights of that name, or a list of them, are those in half precision beside others."""
    return ".fp16." in name or ".fp16-" in name


def half(folder: Path) -> bool:
    """Whether the weights in `folder` are there in half precision under a name of their own."""
    return any(are_halves(path.name) and are_weights(path.name) for path in folder.glob("*.safetensors"))


def lacking(folder: Path) -> str:
    """What is wrong with the weights of one network in `folder`, of which nothing is read; nothing if they are there."""
    names = {path.name for path in folder.glob("*")}
    if not any(map(are_weights, names)):
        if any(name.endswith(".safetensors") for name in names):
            return f"no {STEMS[0]}.safetensors or {STEMS[1]}.safetensors; a file that is a model by itself is named with its folder"
        others = sorted(name for name in names if name.endswith((".bin", ".ckpt", ".pt", ".msgpack", ".onnx")))
        return f"no weights as safetensors, and splatview loads no others{f' ({others[0]})' if others else ''}"
    lists = [name for name in names if ".safetensors.index." in name and are_halves(name) == half(folder)]
    parts = {str(part) for name in lists for part in _told(folder / name, "weight_map").values()}
    absent = sorted(parts - names)
    return f"{len(absent)} of the {len(parts)} files of its weights are not there, {absent[0]} for one" if absent else ""


def _lacking(folder: Path, kind: Kind | None) -> Iterator[str]:
    """What a model of this `kind` needs and is not there."""
    if kind is None:
        yield "expected model_index.json (a pipeline), config.json (an autoencoder or a ControlNet) or a LoRA"
    elif folder.is_file():
        return
    elif kind == "pipeline":
        index = settings(folder / INDEX)
        for part in [*NEEDED, *(part for part in MAYBE if isinstance(told := index.get(part), list) and told and told[0])]:
            yield from _lacking_part(folder, part)
    elif kind != "lora" and not list(folder.glob("*.pth")) and (wrong := lacking(folder)):
        yield wrong


def _lacking_part(folder: Path, part: str) -> Iterator[str]:
    names = {path.name for path in (folder / part).glob("*")} if (folder / part).is_dir() else set()
    if part.startswith("tokenizer"):
        if not any(files <= names for files in TOKENIZERS):
            yield f"{part}: expected tokenizer.json, or vocab.json with merges.txt"
    elif part == "scheduler":
        if "scheduler_config.json" not in names:
            yield f"{part}: no scheduler_config.json"
    elif "config.json" not in names:
        yield f"{part}: no config.json"
    elif wrong := lacking(folder / part):
        yield f"{part}: {wrong}"


def _told(path: Path, name: str) -> Mapping[str, Any]:
    """The object `name` in a JSON file."""
    found = settings(path).get(name)
    return found if isinstance(found, dict) else {}


def settings(path: Path) -> Mapping[str, Any]:
    """What is in a JSON file of settings, by name; nothing if it is not there, or is something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
