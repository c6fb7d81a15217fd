"""Pictures out: exact where they should be, close where they may be, and depth shown in order."""

import errno

import cv2
import numpy as np
import pytest

from splatview.outputs.beside import beside
from splatview.outputs.images import LARGEST, alpha_picture, depth_picture, encode_jpeg, encode_png, write_image


def decoded(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


def gradient(height=48, width=64):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) % 7 * 30], -1).astype(np.uint8)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


@pytest.mark.parametrize("shape,dtype", [((9, 7), np.uint8), ((9, 7), np.uint16), ((9, 7, 3), np.uint8), ((9, 7, 4), np.uint8)])
def test_png_is_exact(shape, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    order = {2: slice(None), 3: np.s_[..., [2, 1, 0, 3][: shape[-1]]]}[len(shape)]
    assert np.array_equal(decoded(encode_png(pixels))[order], pixels)


def test_jpeg_keeps_red_red_and_more_quality_is_closer():
    red = np.zeros((32, 32, 3), np.uint8)
    red[..., 0] = 200
    assert decoded(encode_jpeg(red, 90))[..., ::-1].astype(int).mean((0, 1)) == pytest.approx([200, 0, 0], abs=3)
    sharp = gradient()
    shown = [decoded(encode_jpeg(sharp, quality, full_colour=full))[..., ::-1] for quality, full in [(40, False), (90, False), (95, True)]]
    errors = [psnr(sharp, picture) for picture in shown]
    assert errors == sorted(errors) and errors[-1] > 36


@pytest.mark.parametrize("name,exact", [("a.png", True), ("a.webp", True), ("a.jpg", False), ("A.JPEG", False)])
def test_a_file_is_written_as_its_suffix_says(tmp_path, name, exact):
    write_image(tmp_path / name, gradient())
    back = cv2.imread(str(tmp_path / name))[..., ::-1]
    assert np.array_equal(back, gradient()) if exact else psnr(back, gradient()) > 35


def test_an_unknown_suffix_is_refused_by_name(tmp_path):
    with pytest.raises(ValueError, match=r"b\.gif: expected a name that ends with \.png"):
        write_image(tmp_path / "b.gif", gradient())


def test_depth_is_ordered_and_nothing_is_black():
    depth = np.linspace(1, 9, 200, dtype=np.float32).reshape(10, 20)
    depth[0, 0] = 0
    grey = depth_picture(depth, "gray")
    assert (grey[0, 0] == 0).all()
    levels = grey.reshape(-1, 3)[1:, 0].astype(int)
    assert (np.diff(levels) <= 0).all() and levels[0] == 255 and levels[-1] == 0
    assert not np.array_equal(depth_picture(depth, "turbo"), grey)


def test_depth_limits_hold_from_picture_to_picture():
    near_half, whole = np.full((4, 4), 2.0, np.float32), np.array([[2.0, 8.0]], np.float32)
    shown = depth_picture(near_half, near=1, far=10)[0, 0], depth_picture(whole, near=1, far=10)[0, 0]
    assert np.array_equal(*shown)


def test_a_depth_of_nothing_is_black():
    assert not depth_picture(np.zeros((3, 4), np.float32)).any()


def test_alpha_is_clamped_and_rounded():
    assert alpha_picture(np.array([[-1, 0, 0.5, 1, 2]], np.float32)).tolist() == [[0, 0, 128, 255, 255]]


# Files that are replaced only when they are complete


def test_an_error_of_the_place_beside_a_file_names_the_file(tmp_path):
    for raised in (OSError(errno.ENOSPC, "No space left on device"), None):
        with pytest.raises(OSError) as error, beside(tmp_path / "a.png") as part:
            if raised is not None:
                raise raised
            (part / "b").write_bytes(b"")  # of its own place, the system says
        expected = (errno.ENOSPC, str(tmp_path / "a.png")) if raised else (errno.ENOENT, str(part / "b"))
        assert (error.value.errno, error.value.filename) == expected
    with pytest.raises(OSError) as error, beside(tmp_path / "a.png"):
        pass  # nothing was written
    assert error.value.filename == str(tmp_path / "a.png")
    with pytest.raises(FileNotFoundError, match="there is no folder"), beside(tmp_path / "no" / "a.png"):
        pass


def test_what_failed_is_told_whatever_keeps_its_remains(tmp_path):
    with pytest.raises(ZeroDivisionError), beside(tmp_path / "a.png") as part:
        part.mkdir()  # cannot be unlinked
        raise ZeroDivisionError


def test_a_name_may_be_as_long_as_the_system_takes_and_longer_ones_are_told_at_once(tmp_path):
    longest = tmp_path / ("x" * 251 + ".png")
    write_image_beside(longest)
    assert [one.name for one in tmp_path.iterdir()] == [longest.name]
    with pytest.raises(OSError, match="too long"), beside(tmp_path / ("x" * 252 + ".png")):
        pytest.fail("the work has begun")


def write_image_beside(path):
    with beside(path) as part:
        write_image(part, gradient())


@pytest.mark.parametrize("suffix", LARGEST)
def test_pictures_that_are_too_large_for_a_format_are_told(capfd, tmp_path, suffix):
    most = LARGEST[suffix]
    write_image(tmp_path / f"a{suffix}", np.zeros((1, most, 3), np.uint8))
    with pytest.raises(ValueError, match=f"at most {most} pixels a side.*got 1 x {most + 1}"):
        write_image(tmp_path / f"b{suffix}", np.zeros((most + 1, 1, 3), np.uint8))
    assert capfd.readouterr().err == "" and [one.name for one in tmp_path.iterdir()] == [f"a{suffix}"]
