"""What the torch module of tiny-cuda-nn does by its documentation, in plain torch on a CPU: what a configuration and parameters mean.

It knows nothing of splatview. Numbers are rounded to 16 bits where tiny-cuda-nn's own are.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.polynomial import legendre

GRANULARITY = 256  # of a batch, which its own module fills up, in newer versions
ALIGNED = 16  # inputs and outputs of a fully fused network
calls: list[int] = []  # rows of each


def half(values):
    return values.half().float()


class HashGrid:
    def __init__(self, config, inputs):
        assert inputs == 3 and config["otype"] == "HashGrid"
        self.features, self.levels, begin = config["n_features_per_level"], [], 0
        for level in range(config["n_levels"]):
            scale = np.float32(2) ** (np.float32(level) * np.log2(np.float32(config["per_level_scale"]))) * config["base_resolution"] - 1
            corners = math.ceil(scale) + 1
            entries = min(-(-(corners**3) // 8) * 8, 1 << config["log2_hashmap_size"])
            self.levels.append((float(scale), corners, begin, entries))
            begin += entries
        self.parameters, self.outputs, self.filled = begin * self.features, len(self.levels) * self.features, 0.0

    def __call__(self, unit, parameters):
        assert (unit >= 0).all() and (unit <= 1).all()
        found = []
        for scale, corners, begin, entries in self.levels:
            table = parameters[begin * self.features : (begin + entries) * self.features].reshape(entries, self.features).float()
            place = unit * scale + 0.5
            low = place.floor()
            share, total = place - low, torch.zeros(len(unit), self.features)
            for corner in np.ndindex(2, 2, 2):
                bits = torch.tensor(corner)
                weight = torch.where(bits == 1, share, 1 - share).prod(1)
                total = half(half(weight)[:, None] * table[self._index(low.long() + bits, corners, entries)] + total)
            found.append(total)
        return torch.cat(found, 1)

    @staticmethod
    def _index(at, corners, entries):
        index, stride = torch.zeros(len(at), dtype=torch.int64), 1
        for axis in range(3):
            if stride <= entries:
                index, stride = index + at[:, axis] * stride, stride * corners
        if entries < stride:
            index = at[:, 0] ^ (at[:, 1] * 2654435761 & 0xFFFFFFFF) ^ (at[:, 2] * 805459861 & 0xFFFFFFFF)
        return (index & 0xFFFFFFFF) % entries


class SphericalHarmonics:
    parameters, filled = 0, 1.0

    def __init__(self, config, inputs):
        assert inputs == 3
        self.degree, self.outputs = config["degree"], config["degree"] ** 2

    def __call__(self, values, parameters):
        """In the order l, m: derivatives of Legendre's polynomials times the real and the imaginary part of (x + i y)^m."""
        x, y, z = (2 * values.double() - 1).T
        circle, found = torch.complex(x, y), []
        for l in range(self.degree):
            for m in range(-l, l + 1):
                around = circle ** abs(m)
                factor = math.sqrt((2 * l + 1) / (4 * math.pi) * math.factorial(l - abs(m)) / math.factorial(l + abs(m)))
                factor *= (-1) ** m * (math.sqrt(2) if m else 1)
                along = np.asarray(legendre.legval(z.numpy(), legendre.legder([0] * l + [1], abs(m))))
                found.append(factor * torch.from_numpy(np.broadcast_to(along, z.shape).copy()) * (around.imag if m < 0 else around.real))
        return half(torch.stack(found, 1).float())


class Identity:
    parameters, filled = 0, 1.0

    def __init__(self, config, inputs):
        self.outputs = inputs

    def __call__(self, values, parameters):
        return half(values)


class Composite:
    filled = 1.0

    def __init__(self, config, inputs):
        self.inputs = [one["n_dims_to_encode"] for one in config["nested"]]
        assert sum(self.inputs) == inputs
        self.nested = [encoding(one, count) for one, count in zip(config["nested"], self.inputs, strict=True)]
        self.parameters, self.outputs = sum(one.parameters for one in self.nested), sum(one.outputs for one in self.nested)
        assert self.parameters == 0

    def __call__(self, values, parameters):
        parts = values.split(self.inputs, 1)
        return torch.cat([one(part, parameters) for one, part in zip(self.nested, parts, strict=True)], 1)


def encoding(config, inputs):
    kinds = {"HashGrid": HashGrid, "SphericalHarmonics": SphericalHarmonics, "Identity": Identity, "Composite": Composite}
    return kinds[config["otype"]](config, inputs)


class NetworkWithInputEncoding(torch.nn.Module):
    def __init__(self, n_input_dims, n_output_dims, encoding_config, network_config, seed=1337):
        super().__init__()
        self.n_input_dims, self.n_output_dims, self.dtype = n_input_dims, n_output_dims, torch.half
        assert network_config["otype"] == "FullyFusedMLP" and network_config["n_neurons"] in (16, 32, 64, 128)
        assert (network_config["activation"], network_config["output_activation"]) == ("ReLU", "None")
        if network_config["n_hidden_layers"] < 1:
            raise RuntimeError("FullyFusedMLP requires at least 1 hidden layer (3 layers in total).")
        self.encoding, width = encoding(encoding_config, n_input_dims), network_config["n_neurons"]
        inputs, outputs = (-(-count // ALIGNED) * ALIGNED for count in (self.encoding.outputs, n_output_dims))
        self.shapes = [(width, inputs), *[(width, width)] * (network_config["n_hidden_layers"] - 1), (outputs, width)]
        count = sum(rows * columns for rows, columns in self.shapes) + self.encoding.parameters
        self.params = torch.nn.Parameter(torch.rand(count, generator=torch.Generator().manual_seed(seed)) * 1e-4)

    def forward(self, values):
        assert values.dtype == torch.float32 and values.shape[1] == self.n_input_dims
        if len(values) % GRANULARITY:
            raise RuntimeError(f"Batch size must be a multiple of {GRANULARITY}.")
        calls.append(len(values))
        parameters = self.params.to(self.dtype)
        sizes = [rows * columns for rows, columns in self.shapes]
        *matrices, rest = parameters.split([*sizes, len(parameters) - sum(sizes)])
        encoded = self.encoding(values.contiguous(), rest)
        filling = torch.full((len(values), self.shapes[0][1] - encoded.shape[1]), self.encoding.filled)
        hidden = torch.cat([encoded, filling], 1)
        for place, (matrix, shape) in enumerate(zip(matrices, self.shapes, strict=True)):
            hidden = self._multiplied(hidden.clamp_min(0) if place else hidden, matrix.float().reshape(shape))
        return hidden.half()[:, : self.n_output_dims]

    @staticmethod
    def _multiplied(values, matrix):
        """[N, out], summed in 16 bits, sixteen inputs at a time."""
        total = torch.zeros(len(values), len(matrix))
        for begin in range(0, values.shape[1], 16):
            total = half(total + values[:, begin : begin + 16] @ matrix[:, begin : begin + 16].T)
        return total
