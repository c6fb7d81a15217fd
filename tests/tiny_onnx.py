"""Small networks that redraw pictures, as ONNX files of all kinds."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

SAME = np.eye(3)
SWAP = SAME[::-1]


def picture(name="picture", size=("h", "w"), kind=TensorProto.FLOAT, first=True, channels=3):
    shape = [1, channels, *size] if first else [1, *size, channels]
    return helper.make_tensor_value_info(name, kind, shape)


def mixing(name, matrix=SAME, offset=(0, 0, 0), kind=np.float32):
    """Weights of a convolution of single pixels that mixes channels."""
    return [
        numpy_helper.from_array(np.asarray(matrix, kind)[..., None, None], f"{name}.w"),
        numpy_helper.from_array(np.asarray(offset, kind), f"{name}.b"),
    ]


def mix(name, given, made):
    return helper.make_node("Conv", [given, f"{name}.w", f"{name}.b"], [made], kernel_shape=[1, 1])


def model(nodes, weights=(), source=None, result=None, opset=17, **told):
    graph = helper.make_graph(nodes, "tiny", [source or picture()], [result or picture("redrawn")], list(weights))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(made, told)
    return made.SerializeToString()


def mixed(matrix=SAME, offset=(0, 0, 0), **more):
    """Mixes channels and does nothing else."""
    return model([mix("mix", "picture", "redrawn")], mixing("mix", matrix, offset), **more)


def slow(layers=64, channels=32):
    """Changes nothing, in very many steps."""
    weights = np.random.default_rng(0).normal(0, 0.01, (channels, channels, 3, 3)).astype(np.float32)
    first, last = np.zeros((channels, 3, 1, 1), np.float32), np.zeros((3, channels, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["picture", "first"], ["0"])]
    nodes += [helper.make_node("Conv", [str(one), "weights"], [str(one + 1)], pads=[1] * 4) for one in range(layers)]
    nodes += [helper.make_node("Conv", [str(layers), "last"], ["nothing"]), helper.make_node("Add", ["picture", "nothing"], ["redrawn"])]
    named = {"first": first, "weights": weights, "last": last}
    return model(nodes, [numpy_helper.from_array(value, name) for name, value in named.items()])


def then(operator, after=1.0, matrix=SAME):
    """Mixes channels, and bends values by an operator such as Sigmoid, times `after`."""
    nodes = [
        mix("mix", "picture", "mixed"),
        helper.make_node(operator, ["mixed"], ["bent"]),
        helper.make_node("Mul", ["bent", "times"], ["redrawn"]),
    ]
    return model(nodes, [*mixing("mix", matrix), numpy_helper.from_array(np.float32(after), "times")])


def without_mean(mean, operator="Sub", sign=1.0):
    """Takes a mean off and puts it on again."""
    values = np.asarray(mean, np.float32).reshape(3, 1, 1)
    nodes = [
        helper.make_node(operator, ["picture", "mean"], ["less"]),
        helper.make_node("Sub" if operator == "Add" else "Add", ["less", "mean"], ["redrawn"]),
    ]
    return model(nodes, [numpy_helper.from_array(sign * values, "mean")])


def halves(size=("h", "w"), times=1, ends=None):
    """The mean of 2 x 2 pixels, `times` over, enlarged by transposed convolutions, with `ends` to a size that is written down."""
    nodes, weights, given = [], [], "picture"
    down = np.zeros((3, 3, 2, 2), np.float32)
    down[range(3), range(3)] = 0.25
    up = np.zeros((3, 3, 3, 3), np.float32)
    up[range(3), range(3), :2, :2] = 1
    weights += [numpy_helper.from_array(down, "down"), numpy_helper.from_array(up, "up")]
    for step in range(times):
        nodes.append(helper.make_node("Conv", [given, "down"], [f"down{step}"], kernel_shape=[2, 2], strides=[2, 2]))
        given = f"down{step}"
    for step in range(times):
        written = {} if ends is None else {"output_shape": [side // 2 ** (times - 1 - step) + 2 for side in size]}
        more = written or {"output_padding": [1, 1]}
        nodes.append(
            helper.make_node("ConvTranspose", [given, "up"], [f"up{step}"], kernel_shape=[3, 3], strides=[2, 2], **more, **(ends or {}))
        )
        starts, stops = np.zeros(2, np.int64), np.full(2, -2, np.int64)
        weights += [
            numpy_helper.from_array(one, f"{name}{step}")
            for name, one in (("starts", starts), ("stops", stops), ("axes", np.array([2, 3])))
        ]
        given = "redrawn" if step == times - 1 else f"cut{step}"
        nodes.append(helper.make_node("Slice", [f"up{step}", f"starts{step}", f"stops{step}", f"axes{step}"], [given]))
    return model(nodes, weights, picture(size=size), picture("redrawn", size))


def resized(size, shaped=False):
    """Half the size, and back to a size that is written down; `shaped`: by a Reshape, too, so that it cannot be another."""
    nodes = [
        helper.make_node("AveragePool", ["picture"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node(
            "Resize",
            ["half", "", "", "sizes"],
            ["large"],
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        ),
        helper.make_node("Reshape", ["large", "shape"], ["redrawn"]) if shaped else helper.make_node("Identity", ["large"], ["redrawn"]),
    ]
    shape = np.array([1, 3, *size], np.int64)
    weights = [numpy_helper.from_array(shape, "sizes"), numpy_helper.from_array(shape, "shape")]
    return model(nodes, weights, picture(size=size), picture("redrawn", size))
