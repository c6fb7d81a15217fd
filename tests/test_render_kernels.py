"""The kernels for fields are compiled for GPUs, which takes none; what they do Triton's interpreter tells."""

from __future__ import annotations

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from splatview.render import field_kernels, field_tcnn_kernels, field_triton_kernels

TYPES = {
    "fp32": (
        "step",
        "rate",
        "first",
        "last",
        "longest",
        "start",
        "near",
        "far",
        "offset",
        "least_alpha",
        "density_factor",
        "last_transmittance",
    ),
    "i32": ("begin", "many", "turn", "rays", "slots", "some", "across", "width", "height", "density_row", "colour_row"),
    "*fp16": ("density", "colour", "weights"),
    "*fp64": ("levels",),
    "*i64": ("which",),
    "*i32": ("owners", "counts", "listed", "going", "asked", "samples_out", "table"),
    "*u8": ("cells", "blocks"),
}
TYPE_OF = {name: kind for kind, names in TYPES.items() for name in names}  # others point to fp32
SIZES = {
    "MOST": 32,
    "TILE": 8,
    "OUTPUTS": 16,
    "CASCADES": 2,
    **dict.fromkeys(("CELLS_X", "CELLS_Y", "CELLS_Z"), 128),
    **{"FEATURES": 2, "LEVELS": 16, "INPUTS": 32, "WIDTH": 64, "DENSITY_LAYERS": 1, "COLOUR_LAYERS": 2},
}
FLAGS = "GROWING", "SHIFTED", "CONTRACTED", "CROPPED", "OCCUPIED", "HDR"
KERNELS = {
    "begin_rays": (field_kernels, 128, 4, {"seen": "*fp16"}),
    "advance": (field_kernels, 128, 4, {}),
    "finish": (field_kernels, 256, 4, {}),
    "encode": (field_triton_kernels, 256, 4, {"features": "*i32"}),
    "ask": (field_triton_kernels, 64, 2, {"features": "*fp16", "seen": "*fp16"}),
    "place": (field_tcnn_kernels, 256, 4, {}),
    "cover": (field_tcnn_kernels, 256, 4, {}),
}


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize(("flag", "capability"), [(False, 80), (True, 90)])
def test_a_kernel_is_compiled(name, flag, capability, tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    module, block, warps, own = KERNELS[name]
    kernel = getattr(module, name)
    constants = {"BLOCK": block, "PART": 2 * flag, **SIZES, **dict.fromkeys(FLAGS, flag)}
    types = {**TYPE_OF, **own, **dict.fromkeys(constants, "constexpr")}
    signature = {argument: types.get(argument, "*fp32") for argument in kernel.arg_names}
    values = {(place,): constants[argument] for place, argument in enumerate(kernel.arg_names) if argument in constants}
    compiled = triton.compile(ASTSource(kernel, signature, values), GPUTarget("cuda", capability, 32), {"num_warps": warps})
    assert f".target sm_{capability}" in compiled.asm["ptx"] and len(compiled.asm["cubin"]) > 1000
