"""Our Triton pass: interpreted on the CPU against the specification, and compiled for GPUs that need not be here."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy_renderer
import pytest
from interpreted_frames import LEAST, SMALL, spot
from render_cases import psnr

pytestmark = pytest.mark.xdist_group("contributions")  # one process draws the pictures for all


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """By case / camera / output, as Triton's interpreter draws them."""
    out = tmp_path_factory.mktemp("interpreted") / "pictures.npz"
    subprocess.run([sys.executable, Path(__file__).with_name("interpreted_frames.py"), out], check=True)
    with np.load(out) as stored:
        return dict(stored)


@pytest.mark.parametrize("name", SMALL)
def test_contributions_are_the_specified_ones(pictures, name):
    (scene, _, options), cameras = SMALL[name]
    for number, camera in enumerate(cameras):
        got = {
            key: pictures[f"{name}/{number}/{key}"]
            for key in ("ids", "id_layers", "median_depth", "overdraw", "coverage", "rgb", "alpha", "depth")
        }
        expected = numpy_renderer.render(scene, camera, options)
        assert (expected["alpha"].max() > 0.1) != (name == "nothing in view"), "the case shows what it should not"
        for key in ("ids", "id_layers", "overdraw"):
            assert np.mean(got[key] == expected[key]) >= 0.995, key
        assert np.mean(np.isclose(got["median_depth"], expected["median_depth"], rtol=1e-4)) >= 0.995
        for key in ("rgb", "alpha", "depth", "coverage"):
            assert psnr(got[key], expected[key]) >= 60, key


@pytest.mark.parametrize("name", SMALL)
def test_who_is_seen_in_a_region_is_the_specified(pictures, name):
    (scene, _, options), cameras = SMALL[name]
    for number, camera in enumerate(cameras):
        expected = numpy_renderer.heaviest_weights(scene, camera, spot(camera), options)
        for layer, weight in expected.items():
            got, sure = pictures[f"{name}/{number}/seen/{layer}"], np.abs(weight - LEAST) > 1e-3 * LEAST
            wrong = np.count_nonzero(got[sure] != (weight[sure] >= LEAST))
            assert wrong <= (2 if "outlines" in name else 0), "a pixel on the very edge of a rim may fall to either side"
        assert any((weight >= LEAST).any() for weight in expected.values()) != (name == "nothing in view")


def test_outlines_differ_from_splats():
    (scene, _, options), cameras = SMALL["outlines"]
    outlined, plain = (numpy_renderer.render(scene, cameras[0], each)["rgb"] for each in (options, replace(options, style="splats")))
    assert psnr(outlined, plain) < 30


COMPILE = """
import json, sys
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from splatview.render.contributions import search_tiles, walk_tiles

floats, ints = ("means", "conics", "opacities", "depths", "median_out", "coverage_out"), ("offsets", "members", "ids_out", "overdraw_out")
painting = ("features", "blended_out", "alpha_out")
for architecture in json.loads(sys.argv[1]):
    for channels, outlined in ((0, False), (4, True)):
        constants = {"CHANNELS": channels, "TILE": 16, "OUTLINED": outlined, "COVERED": outlined}
        constants |= dict.fromkeys((*painting, "tinted", "coverage_out")) if not channels else {}
        def kind(name):
            if name in constants:
                return "constexpr"
            if name == "tinted":
                return "*u8"
            return "*fp32" if name in floats or name in painting else "*i32" if name in ints else "i32"
        names = walk_tiles.arg_names
        source = ASTSource(walk_tiles, {name: kind(name) for name in names}, {(names.index(k),): v for k, v in constants.items()})
        compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": 8})
        print(architecture, channels, len(compiled.asm["cubin"]))
    kinds = dict.fromkeys(search_tiles.arg_names, "i32")
    kinds |= dict.fromkeys(("means", "conics", "opacities"), "*fp32") | dict.fromkeys(("offsets", "members"), "*i32")
    kinds |= {"region": "*u8", "found": "*u8", "least": "fp32", "TILE": "constexpr", "OUTLINED": "constexpr"}
    names = search_tiles.arg_names
    source = ASTSource(search_tiles, kinds, {(names.index("TILE"),): 16, (names.index("OUTLINED"),): True})
    compiled = triton.compile(source, target=GPUTarget("cuda", architecture, 32), options={"num_warps": 8})
    print(architecture, 0, len(compiled.asm["cubin"]))
"""


def test_the_kernel_compiles_for_gpus_of_ten_years(tmp_path):
    """To machine code for Turing, Hopper and Blackwell, with the assembler that Triton brings."""
    architectures = [75, 90, 120]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", COMPILE, json.dumps(architectures)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sizes = [[int(word) for word in line.split()] for line in done.stdout.splitlines()]
    assert [row[0] for row in sizes] == [75, 75, 75, 90, 90, 90, 120, 120, 120] and all(row[2] > 1000 for row in sizes)
