"""`.ksplat`: the files of its own tool agree with the ply they were made from, and a writer of this test holds the rest."""

import struct
import tracemalloc

import numpy as np
import pytest
from format_steps import angles, matched
from hypothesis import given
from hypothesis import strategies as st

from splatview.formats import inria, ksplat
from splatview.formats.packing import LOGITS

# By compression level: of positions, of scales and rotations, of harmonics.
LEVELS = (("<f4", "<f4", "<f4"), ("<u2", "<f2", "<f2"), ("<u2", "<f2", "u1"))
STEPS, BLOCK = 32767, 5.0


def header(count, level, sections=1, most=None, sh_range=(0.0, 0.0), version=(0, 1)):
    start = struct.pack("<BBxxIIIIHxx3fff", *version, most or sections, sections, count, count, level, 7.0, 8.0, 9.0, *sh_range)
    return start.ljust(4096, b"\0")


def section(splats, level, sizes=(), capacity=0, full=0, room=None, sh_range=(-1.5, 1.5), steps=STEPS, degree=None):
    """The header and the body of a section; `sizes` are those of the partly filled buckets, which follow `full` ones of `capacity`."""
    count, degree = len(splats), splats.sh_degree if degree is None else degree
    buckets = full + len(sizes)
    of = np.repeat(np.arange(buckets), [capacity] * full + list(sizes))[:count]
    centres = np.array([splats.means[of == bucket].mean(0) if (of == bucket).any() else np.zeros(3) for bucket in range(buckets)], "<f4")
    place, value, harmonic = LEVELS[level]
    means = splats.means if level == 0 else np.rint((splats.means - centres[of]) / (BLOCK / 2) * steps + steps)
    bands = [splats.sh[:, l * l : (l + 1) ** 2].transpose(0, 2, 1).reshape(count, -1) for l in range(1, degree + 1)]
    rest = np.concatenate(bands, 1) if bands else np.zeros((count, 0))
    if level == 2:
        rest = np.floor((np.clip(rest, *sh_range) - sh_range[0]) / (sh_range[1] - sh_range[0]) * 255)
    rgba = np.rint(np.clip(np.c_[splats.colours, splats.opacities], 0, 1) * 255)
    columns = [means.astype(place), splats.scales.astype(value), splats.quats.astype(value), rgba.astype("u1"), rest.astype(harmonic)]
    records = np.concatenate([np.ascontiguousarray(column).view("u1").reshape(count, -1) for column in columns], 1)
    room = count if room is None else room
    about = struct.pack("<IIIIfHxxIIIIH", count, room, capacity, buckets, BLOCK, 12, steps, 0, full, len(sizes), degree)
    body = np.array(sizes, "<u4").tobytes() + centres.tobytes() + records.tobytes() + bytes((room - count) * records.shape[1])
    return about.ljust(1024, b"\0"), body


def joined(start, *sections):
    return start + b"".join(about for about, _ in sections) + b"".join(body for _, body in sections)


def close(truth, read, level, sh_range=(-1.5, 1.5), spacing=BLOCK / 2 / STEPS):
    """`read` is `truth` within the steps of a level."""
    np.testing.assert_allclose(read.means, truth.means, atol=0 if level == 0 else spacing * 0.51, rtol=3e-7)
    step = 2**-10 if level else 4e-7  # of a value: their tool cuts halves off instead of rounding
    np.testing.assert_allclose(read.scales, truth.scales, rtol=step, atol=2**-24 if level else 0)
    assert (angles(truth.quats, read.quats) <= 4 * step).all()
    np.testing.assert_allclose(read.colours, np.clip(truth.colours, 0, 1), atol=1.01 / 255)
    np.testing.assert_allclose(read.opacities, truth.opacities, atol=1.01 / 255)
    byte = (sh_range[1] - sh_range[0]) / 255
    rest = np.clip(truth.sh[:, 1:], *sh_range) if level == 2 else truth.sh[:, 1:]
    np.testing.assert_allclose(read.sh[:, 1:], rest, rtol=0 if level == 2 else step, atol=1.001 * byte if level == 2 else 2**-24)


@pytest.fixture(scope="module")
def block(random_gaussians):
    """Gaussians that fit into one block of positions."""
    splats = random_gaussians(300, 3)
    return type(splats)(splats.means / 10, splats.quats, splats.log_scales, splats.opacity_logits, splats.sh)


@pytest.mark.parametrize("level", range(3))
def test_leica_agrees_with_its_ply_cut_to_degree_2(data, level):
    truth = inria.decode((data / "splats" / "leica-sofort-top8192.ply").read_bytes()).with_max_degree(2)
    content = (data / "splats" / "leica_derived" / f"leica.l{level}_sh2.ksplat").read_bytes()
    read = ksplat.decode(content)
    assert read.sh_degree == 2 and read.kind == "classic"
    close(matched(read, truth), read, level, struct.unpack_from("<ff", content, 36))


def test_another_order_of_the_harmonics_would_not_agree(data):
    """What shows the order: the other one that its text allows is wrong by far."""
    truth = inria.decode((data / "splats" / "leica-sofort-top8192.ply").read_bytes())
    read = ksplat.decode((data / "splats" / "leica_derived" / "leica.l0_sh2.ksplat").read_bytes())
    truth = matched(read, truth).sh[:, 1:4]
    assert np.array_equal(read.sh[:, 1:4], truth)
    assert np.abs(read.sh[:, 1:4].transpose(0, 2, 1) - truth).max() > 0.1


def test_other_real_files(data):
    angel = ksplat.decode((data / "splats" / "statue-angel.l1.ksplat").read_bytes())
    truth = inria.decode((data / "splats" / "statue-angel.ply").read_bytes())
    assert len(angel) == 71_037 and angel.sh_degree == 0
    assert (np.abs(angel.means.min(0) - truth.means.min(0)) < 0.1).all() and (np.abs(angel.means.max(0) - truth.means.max(0)) < 0.1).all()
    minimal = ksplat.decode((data / "conformance" / "st-minimal.ksplat").read_bytes())
    np.testing.assert_array_equal(minimal.means, [[-1, 0, -1], [0, 0, -1], [-1, 0, 0], [0, 0, 0]])
    np.testing.assert_allclose(minimal.scales, 0.1, rtol=1e-6)
    np.testing.assert_allclose(minimal.opacities, 0.9, atol=0.01)


@pytest.mark.parametrize("degree", range(4))
@pytest.mark.parametrize("level", range(3))
def test_every_level_and_degree(block, level, degree):
    truth = block.with_max_degree(degree)
    read = ksplat.decode(joined(header(300, level), section(truth, level, sizes=(10, 34), capacity=64, full=4)))
    assert read.sh_degree == degree
    close(truth, read, level)


@pytest.mark.parametrize("level", range(3))
def test_several_sections_with_room_to_spare(block, level):
    first, second, range_of = block.take(range(100)), block.take(range(100, 300)), (-0.5, 0.75)
    sections = (
        section(first, level, sizes=(40, 0, 60), room=130, sh_range=range_of),
        (struct.pack("<IIIIfHxxIIIIH", 0, 3, 0, 0, BLOCK, 12, 0, 0, 0, 0, 0).ljust(1024, b"\0"), bytes(3 * (44 if level == 0 else 24))),
        section(second.with_max_degree(1), level, capacity=50, full=4, sh_range=range_of, steps=1000),
    )
    read = ksplat.decode(joined(header(300, level, 3, sh_range=range_of), *sections))
    close(first, read.take(range(100)), level, range_of)
    close(second.with_max_degree(1), read.take(range(100, 300)).with_max_degree(1), level, range_of, BLOCK / 2 / 1000)
    assert not read.sh[100:, 4:].any()


def test_a_scale_of_zero_and_the_ends_of_alpha_are_finite(block):
    truth = block.take(range(3)).with_max_degree(0)
    about, body = section(truth, 1, sizes=(3,))
    records = bytearray(body)
    for index, alpha in enumerate((0, 128, 255)):
        records[16 + 24 * index + 6 : 16 + 24 * index + 12] = bytes(6)
        records[16 + 24 * index + 23] = alpha
    read = ksplat.decode(joined(header(3, 1), (about, bytes(records))))
    assert np.isfinite(read.log_scales).all() and (read.scales < 1e-20).all()
    np.testing.assert_array_equal(read.opacity_logits, LOGITS[[0, 128, 255]])


# --- strangers ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(block):
    truth = block.take(range(9)).with_max_degree(1)
    return {level: joined(header(9, level), section(truth, level, sizes=(3, 2), capacity=2, full=2)) for level in range(3)}


def refused(data):
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as error:
            ksplat.decode(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert "ksplat: expected" in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("level", range(3))
def test_every_shorter_file_is_refused(good, level):
    for length in [*range(0, 5120, 97), *range(5120, len(good[level]))]:
        with pytest.raises(ValueError, match="ksplat: expected"):
            ksplat.decode(good[level][:length])


@given(data=st.data())
def test_damage_is_survived(good, data):
    level = data.draw(st.integers(0, 2))
    damaged = bytearray(good[level])
    places = st.integers(0, 44) | st.integers(4096, 4140) | st.integers(5120, len(damaged) - 1)  # elsewhere nothing stands
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(places)
        junk = data.draw(
            st.binary(min_size=1, max_size=4) | st.sampled_from([b"\xff" * 4, bytes(4), b"\x00\x00\xc0\x7f", b"\x01\x00\x80\x7f"])
        )
        damaged[at : at + len(junk)] = junk
    try:
        assert len(ksplat.decode(bytes(damaged[: len(good[level])]))) == 9
    except ValueError as error:
        assert "ksplat: " in str(error)


@given(junk=st.binary(max_size=300))
def test_junk_is_survived(junk):
    for data in (junk, header(9, 0)[:44] + junk, header(9, 1) + junk.ljust(1024, b"\0")):
        with pytest.raises(ValueError):
            ksplat.decode(data)


@pytest.mark.parametrize(
    ("at", "kind", "value"),
    [
        *[(4, "<I", value) for value in (0, 2, 2**31, 2**32 - 1)],  # sections
        *[(16, "<I", value) for value in (0, 8, 10, 2**32 - 1)],  # Gaussians
        *[(20, "<H", value) for value in (3, 65535)],  # level
        *[(36, "<f", value) for value in (2.0, np.nan, np.inf)],  # range of harmonics
        *[(4096, "<I", value) for value in (0, 8, 10, 2**32 - 1)],  # Gaussians of the section
        *[(4100, "<I", value) for value in (8, 10, 2**32 - 1)],  # its room
        *[(4104, "<I", value) for value in (0, 1)],  # capacity of a bucket
        *[(4108, "<I", value) for value in (0, 3, 5, 2**32 - 1)],  # buckets
        *[(4112, "<f", value) for value in (np.nan, np.inf)],  # size of a block
        *[(4116, "<H", value) for value in (0, 11, 13, 65535)],  # bytes of a bucket's centre
        *[(4128, "<I", value) for value in (0, 3, 2**32 - 1)],  # full buckets
        *[(4132, "<I", value) for value in (0, 3, 2**32 - 1)],  # partial ones
        *[(4136, "<H", value) for value in (4, 65535)],  # degree
        *[(0, "B", value) for value in (1, 255)],  # version
    ],
)
def test_wrong_fields_are_refused(good, at, kind, value):
    changed = bytearray(good[1])
    struct.pack_into(kind, changed, at, value)
    refused(bytes(changed))


@pytest.mark.parametrize("at", [0, 12, 24, 44], ids=["position", "scale", "rotation", "harmonics"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_none_are_refused(block, at, value):
    data = bytearray(joined(header(9, 0), section(block.take(range(9)), 0)))
    struct.pack_into("<f", data, 5120 + at, value)
    if (at, value) == (12, -np.inf):  # a scale below zero is nothing
        assert np.isfinite(ksplat.decode(bytes(data)).log_scales).all()
    else:
        assert "finite" in refused(bytes(data))
