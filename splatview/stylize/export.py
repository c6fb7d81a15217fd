"""Networks as ONNX files, for TensorRT and other runtimes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from splatview.stylize.acceleration import Flat

MOST = 16  # rows that an exported network takes at a time: two for each of eight steps
OPSET = 20
LARGE = 1 << 30  # bytes of weights from which on they lie in a file of their own: the format ends at two of these
OUTPUT = "output"
REMARKS = (r"`isinstance\(treespec, LeafSpec\)`", "# The axis name: rows will not be used")  # of the exporter, about itself


def input_names(network: Flat) -> list[str]:
    """What the inputs of `network` are called in a file."""
    return [f"input_{name}".replace(" ", "_") for name in network.names]


@torch.no_grad()
def export(network: Flat, sample: Sequence[Tensor], path: Path) -> None:
    """Write `network`, traced with two rows of `sample`, to `path`: it takes 1 to 16 rows there, of the same size."""
    two = tuple(torch.cat([tensor[:1], tensor[:1]]) for tensor in sample)  # one row would be taken for a constant
    rows = torch.export.Dim("rows", min=1, max=MOST)
    names = input_names(network)
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in REMARKS:
                warnings.filterwarnings("ignore", message=message)
            program = torch.onnx.export(
                network,
                two,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(tuple({0: rows} for _ in two),),
                input_names=names,
                output_names=[OUTPUT],
                verbose=False,
            )
            assert program is not None
            size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
            program.save(path, external_data=size > LARGE)
    finally:
        logger.setLevel(level)
