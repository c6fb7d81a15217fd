"""Instant-NGP's snapshots that are not as they should be: what is said of them, and that they take no memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ngp_files import changed, small_file

from splatview.formats import instant_ngp
from splatview.hashgrid import HashGrid


@pytest.fixture(scope="module")
def small():
    return small_file()


def wrong(*path, value=None):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        if value is None:
            del content[path[-1]]
        else:
            content[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (wrong("snapshot"), "snapshot"),
        (wrong("encoding"), "encoding"),
        (wrong("snapshot", "mode", value="sdf"), "mode 'nerf'"),
        (wrong("snapshot", "version", value=0), "version"),
        (wrong("snapshot", "version", value="new"), "int"),
        (wrong("snapshot", "params_binary", value=b"\0\0"), "parameters"),
        (wrong("snapshot", "params_binary", value="text"), "bytes"),
        (wrong("snapshot", "params_type", value="double"), "__half"),
        (wrong("snapshot", "n_params", value=3), "3 parameters"),
        (wrong("snapshot", "aabb", "min", value=[float("nan"), 0.0, 0.0]), "finite"),
        (wrong("snapshot", "exposure", value=float("inf")), "exposure"),
        (wrong("snapshot", "background_color", value=[float("nan")] * 4), "background_color"),
        (wrong("snapshot", "density_grid_size", value=64), r"128\^3"),
        (wrong("snapshot", "density_grid_binary", value=b"\0" * 100), r"128\^3"),
        (wrong("snapshot", "nerf", "dataset", "aabb_scale", value=3), "aabb_scale"),
        (wrong("snapshot", "nerf", "dataset", "aabb_scale", value=256), "aabb_scale"),
        (wrong("snapshot", "nerf", "dataset", "scale", value=0.0), "scale > 0"),
        (wrong("snapshot", "nerf", "dataset", "offset", value=[1.0, float("inf"), 0.0]), "finite offset"),
        (wrong("snapshot", "nerf", "dataset", "n_extra_learnable_dims", value=-1), "n_extra"),
        (wrong("encoding", "n_levels", value=1 << 40), "levels"),
        (wrong("encoding", "n_levels", value=0), "levels"),
        (wrong("encoding", "n_features_per_level", value=3), "levels"),
        (wrong("encoding", "log2_hashmap_size", value=62), "levels"),
        (wrong("encoding", "log2_hashmap_size", value=30), "parameters of a grid"),
        (wrong("encoding", "base_resolution", value=-5), "cells"),
        (wrong("encoding", "per_level_scale", value=1e30), "cells"),
        (wrong("encoding", "per_level_scale", value=1e-300), "cells"),
        (wrong("encoding", "per_level_scale", value=float("inf")), "cells"),
        (wrong("encoding", "per_level_scale", value=float("nan")), "cells"),
        (wrong("encoding", "otype", value="Frequency"), "HashGrid"),
        (wrong("encoding", "otype", value="OneBlob"), "HashGrid"),
        (wrong("encoding", "otype", value="TiledGrid"), "HashGrid"),
        (wrong("encoding", "type", value="Tiled"), "HashGrid"),
        (wrong("encoding", "interpolation", value="Smoothstep"), "Linear"),
        (wrong("network", "activation", value="Sine"), "ReLU"),
        (wrong("rgb_network", "output_activation", value="Sigmoid"), "None"),
        (wrong("network", "otype", value="Transformer"), "MLP"),
        (wrong("network", "n_neurons", value=1 << 33), "neurons"),
        (wrong("network", "n_hidden_layers", value=0), "layers"),
        (wrong("network", "n_output_dims", value=-4), "outputs"),
        (wrong("dir_encoding", "nested", value=[]), "directions"),
        (wrong("dir_encoding", "nested", value=[{"otype": "Frequency"}]), "directions"),
        (wrong("dir_encoding", "nested", value=[{"otype": "SphericalHarmonics", "degree": 3}]), "directions"),
        (wrong("dir_encoding", "nested", value=["Identity"] * 9000), "a few encodings"),
        (wrong("dir_encoding", "nested", value=3), "array"),
    ],
)
def test_a_file_with_something_wrong_says_what(change, why, small):
    data = changed(small, change)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=why) as error:
            instant_ngp.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 25
    finally:
        tracemalloc.stop()
    assert "\n" not in str(error.value) and "expected" in str(error.value)


def test_parameters_that_are_no_numbers_are_refused(small):
    def change(content):
        flat = np.frombuffer(content["snapshot"]["params_binary"], np.float16).copy()
        flat[[5, 7]] = np.nan, np.inf
        content["snapshot"]["params_binary"] = flat.tobytes()

    with pytest.raises(ValueError, match="found 2 that are not"):
        instant_ngp.decode(changed(small, change))


def test_a_file_that_is_cut_short_is_refused(small):
    plain = gzip.decompress(small)
    for data in (small, plain, zlib.compress(plain)):
        for length in [0, 1, 2, *np.linspace(3, len(data) - 1, 60).astype(int)]:
            with pytest.raises(ValueError, match="ingp: "):
                instant_ngp.decode(data[:length])


def test_values_inside_each_other_without_end_are_refused(small):
    deep = b"\x81\xa8snapshot" + b"\x91" * 200_000
    shell = b"\x82\xa4deep" + b"\x91" * 200_000 + b"\xc0" + b"\xa8snapshot\x80"
    for data in (deep, shell):
        with pytest.raises(ValueError, match="expected a snapshot"):
            instant_ngp.decode(data)


@pytest.mark.parametrize("start", [b"\xdd", b"\xdf", b"\xc6", b"\xdb"])
def test_huge_counts_take_no_memory(start):
    data = b"\x82\xa8encoding" + start + b"\xff\xff\xff\xff" + b"\xa8snapshot\x80"
    with pytest.raises(ValueError, match="expected a snapshot"):
        instant_ngp.decode(data)


@pytest.mark.parametrize("wbits", [15, 31], ids=["zlib", "gzip"])
def test_a_bomb_is_refused(wbits):
    codec = zlib.compressobj(9, zlib.DEFLATED, wbits)
    bomb = b"".join(codec.compress(bytes(1 << 20)) for _ in range(300)) + codec.flush()
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="cannot honestly hold"):
            instant_ngp.decode(bomb)
        assert tracemalloc.get_traced_memory()[1] < 150 << 20
    finally:
        tracemalloc.stop()


@given(st.data())
@settings(max_examples=60)
def test_flipped_bits_and_junk_are_survived(small, data):
    plain = bytearray(changed(small, wrong("snapshot", "density_grid_binary", value=b"")))
    for _ in range(data.draw(st.integers(1, 6))):
        plain[data.draw(st.integers(0, len(plain) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    for content in (bytes(plain), zlib.compress(plain)):
        try:
            assert isinstance(instant_ngp.decode(content).content, HashGrid)
        except ValueError as error:
            assert str(error)
