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
TOKENIZERS = ({"tokenizer.json"}, {"vocab.json", "merges.txt"})


@dataclass(frozen=True)
class Contents:
    """A folder of a model, looked through."""

    kind: Kind | None  # None: it is none that is known
    numbers: int  # in its safetensors files
    types: tuple[str, ...]  # of them
    size: int  # bytes of all files
    problems: tuple[str, ...]  # one line each


def look_through(folder: Path) -> Contents:
    """What is in `folder`."""
    kind, problems, tensors = kind_of(folder), [], {}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.relative_to(folder).parts[0].startswith(".")]
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
    problems += _lacking(folder, kind)
    count = sum(math.prod(tensor["shape"]) for tensor in tensors.values())
    types = tuple(sorted({tensor["dtype"] for tensor in tensors.values()}))
    return Contents(kind, count, types, sum(path.stat().st_size for path in paths), tuple(problems))


def kind_of(folder: Path) -> Kind | None:
    """What kind of model lies in `folder`."""
    if (folder / INDEX).is_file():
        return "pipeline"
    if (folder / LORA).is_file():
        return "lora"
    if list(folder.glob("*_encoder.pth")) and list(folder.glob("*_decoder.pth")):
        return "vae"
    name = str(settings(folder / "config.json").get("_class_name", ""))
    return "controlnet" if name == "ControlNetModel" else "vae" if name.startswith("Autoencoder") else None


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


def half(folder: Path) -> bool:
    """Whether the weights in `folder` are there in half precision under a name of their own."""
    return any(".fp16." in path.name or ".fp16-" in path.name for path in folder.glob("*.safetensors"))


def _lacking(folder: Path, kind: Kind | None) -> Iterator[str]:
    """What a model of this `kind` needs and is not there."""
    if kind is None:
        yield "expected model_index.json (a pipeline), config.json (an autoencoder or a ControlNet) or a LoRA"
    elif kind == "pipeline":
        index = settings(folder / INDEX)
        for part in [*NEEDED, *(part for part in MAYBE if isinstance(told := index.get(part), list) and told and told[0])]:
            yield from _lacking_part(folder, part)
    elif kind != "lora" and not (list(folder.glob("*.safetensors")) or list(folder.glob("*.pth"))):
        yield "no weights (.safetensors)"


def _lacking_part(folder: Path, part: str) -> Iterator[str]:
    names = {path.name for path in (folder / part).glob("*")} if (folder / part).is_dir() else set()
    if part.startswith("tokenizer"):
        if not any(files <= names for files in TOKENIZERS):
            yield f"{part}: expected tokenizer.json, or vocab.json with merges.txt"
    elif part == "scheduler":
        if "scheduler_config.json" not in names:
            yield f"{part}: no scheduler_config.json"
    elif "config.json" not in names or not any(name.endswith(".safetensors") for name in names):
        yield f"{part}: expected config.json and weights (.safetensors)"


def settings(path: Path) -> Mapping[str, Any]:
    """What is in a JSON file of settings, by name; nothing if it is not there, or is something else."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
