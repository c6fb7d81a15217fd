"""What an ONNX file says of its network, and the same network for pictures of any size. The one file that knows `onnx`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, numpy_helper

from splatview.stylize.onnx_style import Channels, Declared, Values

TYPES: dict[int, type] = {onnx.TensorProto.FLOAT: np.float32, onnx.TensorProto.FLOAT16: np.float16, onnx.TensorProto.UINT8: np.uint8}
IMAGENET = np.array([123.68, 116.78, 103.94])  # the means of red, green and blue that networks are most often trained with
EARLY = 6  # nodes behind the input among which its means are looked for
VALUES: dict[str, Values] = {
    "Normalized_0_1": "0..1",
    "Normalized_1_1": "-1..1",
    "NominalRange_0_255": "0..255",
}


@dataclass(frozen=True)
class Picture:
    """An input or output that is a picture."""

    name: str
    dtype: type
    channels_first: bool
    size: tuple[int, int] | None  # height and width, if they are fixed


@dataclass(frozen=True)
class Graph:
    """A network with one picture in and one out."""

    model: bytes
    resizable: bytes  # the same with its sizes left open
    source: Picture
    result: Picture
    says: Declared  # what the file tells of its pictures, by its metadata, a mean that is taken off, or names


def read(data: bytes) -> Graph:
    """The network of a file's bytes; ValueError if it is none that redraws pictures."""
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:
        raise ValueError("expected an ONNX model, and it cannot be read as one: another format, or cut short") from None
    try:
        return _graph(model)
    except ValueError:
        raise
    except Exception as error:  # what is said of broken ones has many classes
        raise ValueError(f"expected an ONNX model, and this one is broken ({' '.join(str(error).split()):.200})") from error


def _graph(model: onnx.ModelProto) -> Graph:
    graph = model.graph
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in graph.initializer):
        raise ValueError("its weights lie in another file; save it as one file")
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)  # weights that are inputs, too, as before 2018, would not be prepared
    if len(inputs) != 1 or not graph.output:
        raise ValueError(f"expected a network with one picture as its input, got {len(inputs)} inputs: {', '.join(v.name for v in inputs)}")
    source, result = _picture("input", inputs[0]), _picture("output", graph.output[0])
    says = _says(model)
    whole = model.SerializeToString()
    _open_sizes(model, source, result)
    return Graph(whole, model.SerializeToString(), source, result, says)


def _picture(what: str, value: onnx.ValueInfoProto) -> Picture:
    tensor = value.type.tensor_type
    shape = [dim.dim_value or None for dim in tensor.shape.dim]
    text = f"{value.name} [{', '.join(str(length or '?') for length in shape)}]"
    if len(shape) != 4 or shape[0] not in (None, 1) or not (3 in shape[1::2] or shape[1] is shape[3] is None):
        raise ValueError(f"expected a picture as its {what}, [1, 3, height, width] or [1, height, width, 3]; got {text}")
    if tensor.elem_type not in TYPES:
        kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
        raise ValueError(f"expected a picture of floats or bytes as its {what}, got {text} of {kind}")
    first = shape[1] == 3 or shape[3] is None
    height, width = shape[2:] if first else shape[1:3]
    return Picture(value.name, TYPES[tensor.elem_type], first, (height, width) if height and width else None)


def _says(model: onnx.ModelProto) -> Declared:
    """Metadata as Windows ML has it, then a mean that is taken off the picture, then names of the picture."""
    told = {one.key: one.value for one in model.metadata_props}
    pixels, levels = told.get("Image.BitmapPixelFormat", "")[:3].upper(), told.get("Image.NominalPixelRange", "")
    order, values = _by_means(model.graph)
    name = model.graph.input[0].name.lower()
    named: Channels = "RGB" if "rgb" in name else "BGR" if "bgr" in name else "auto"
    channels: Channels = "RGB" if pixels == "RGB" else "BGR" if pixels == "BGR" else named if order == "auto" else order
    return Declared(channels, VALUES.get(levels, values))


def _by_means(graph: onnx.GraphProto) -> tuple[Channels, Values]:
    """Channels and values by ImageNet's means among the first constants that meet the picture."""
    known: dict[tuple[Channels, Values], np.ndarray] = {
        ("RGB", "0..255"): IMAGENET,
        ("BGR", "0..255"): IMAGENET[::-1],
        ("RGB", "0..1"): IMAGENET / 255,
        ("BGR", "0..1"): IMAGENET[::-1] / 255,
    }
    for constant in _early_constants(graph):
        for convention, means in known.items():
            if constant.size == 3 and np.allclose(np.abs(constant.ravel()), means, rtol=0.01):
                return convention
    return "auto", "auto"


def _early_constants(graph: onnx.GraphProto) -> Iterator[np.ndarray]:
    known = _constants(graph)
    behind = {graph.input[0].name}
    for node in graph.node[:EARLY]:
        if behind & set(node.input):
            behind |= set(node.output)
            yield from (known[name] for name in node.input if name in known)
            yield from (np.array(one.floats) for one in node.attribute if one.type == onnx.AttributeProto.FLOATS)


def _constants(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    made = {node.output[0]: one.t for node in graph.node if node.op_type == "Constant" for one in node.attribute if one.name == "value"}
    small = {tensor.name: tensor for tensor in graph.initializer if np.prod(tensor.dims, dtype=float) <= 64}
    return {name: numpy_helper.to_array(tensor) for name, tensor in {**small, **made}.items()}


def _open_sizes(model: onnx.ModelProto, source: Picture, result: Picture) -> None:
    """Leave the height and the width of the network's pictures open, also where its nodes have them written down."""
    sizes = _sizes(model)
    for value, picture in ((model.graph.input[0], source), (model.graph.output[0], result)):
        dims = value.type.tensor_type.shape.dim
        dims[0].dim_value = 1
        for axis, name in zip((2, 3) if picture.channels_first else (1, 2), ("height", "width"), strict=True):
            dims[axis].dim_param = f"{picture.name} {name}"
    del model.graph.value_info[:]
    known = _constants(model.graph)
    for node in model.graph.node:
        if node.op_type == "ConvTranspose":
            _open_transposed(node)
        elif node.op_type == "Resize" and len(node.input) == 4 and node.input[3] in known and node.input[0] in sizes:
            _open_resize(model.graph, node, known[node.input[3]] / np.array(sizes[node.input[0]], np.float64))


def _sizes(model: onnx.ModelProto) -> dict[str, list[int]]:
    """The shapes that are known, by name."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    shapes = {value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim] for value in (*inferred.value_info, *inferred.input)}
    return {name: shape for name, shape in shapes.items() if all(shape)}


def _open_transposed(node: onnx.NodeProto) -> None:
    """With an `output_shape` its padding was worked out of it: now it is said. out = stride (in - 1) + kernel + output padding."""
    given: Mapping[str, Any] = {one.name: helper.get_attribute_value(one) for one in node.attribute}
    if "output_shape" not in given:
        return
    kernel, axes = given["kernel_shape"], len(given["kernel_shape"])
    strides, dilations = given.get("strides", [1] * axes), given.get("dilations", [1] * axes)
    kept = [one for one in node.attribute if one.name not in ("output_shape", "auto_pad", "pads", "output_padding")]
    if given.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
        kept.append(helper.make_attribute("auto_pad", given["auto_pad"]))
    else:
        rest = [
            (out - (size - 1) * dilation - 1) % stride
            for out, size, dilation, stride in zip(given["output_shape"][-axes:], kernel, dilations, strides, strict=True)
        ]
        kept += [helper.make_attribute("pads", [0] * 2 * axes), helper.make_attribute("output_padding", rest)]
    del node.attribute[:]
    node.attribute.extend(kept)


def _open_resize(graph: onnx.GraphProto, node: onnx.NodeProto, scales: np.ndarray) -> None:
    """By a factor instead of to a size."""
    name = f"{node.output[0]} scales"
    graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), name))
    node.input[2] = name
    del node.input[3:]
