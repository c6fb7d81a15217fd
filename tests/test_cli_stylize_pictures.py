"""`splatview stylize` of pictures: their names, colours, alpha and shapes are kept."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image
from style_words import picture, pictures, stylize
from stylized_frames import clouds, frame
from tiny_videos import psnr, smooth

from splatview.cli import inputs
from splatview.stylize.filters import FILTERS


def test_pictures_keep_their_alpha_and_stand_upright(tmp_path):
    rgba = np.dstack([clouds(40, 60), np.tile(np.linspace(0, 255, 60).astype(np.uint8), (40, 1))])
    Image.fromarray(rgba).save(tmp_path / "soft.png")
    assert stylize(tmp_path / "soft.png", "-o", tmp_path / "out.png", "--style", "oil") == 0
    np.testing.assert_array_equal(picture(tmp_path / "out.png")[..., 3], rgba[..., 3])
    turned = Image.fromarray(smooth(0, 40, 60))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn to the right makes it upright
    turned.save(tmp_path / "phone.jpg", exif=exif, quality=98, subsampling=0)
    assert stylize(tmp_path / "phone.jpg", "-o", tmp_path / "phone.png", "--radius", "1", "--colour", "1") == 0
    assert psnr(picture(tmp_path / "phone.png"), np.rot90(smooth(0, 40, 60), -1)) > 25


def test_large_pictures_are_read_without_remarks_and_floats_are_told(monkeypatch, tmp_path):
    Image.fromarray(smooth(0, 30, 40)).save(tmp_path / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # of 1200
    np.testing.assert_array_equal(inputs.read_picture(tmp_path / "large.png")[0], smooth(0, 30, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(ValueError, match=r"large\.png: expected a picture .*exceeds limit"):
        inputs.read_picture(tmp_path / "large.png")
    Image.fromarray(np.ones((4, 6), np.float32)).save(tmp_path / "floats.tif")
    with pytest.raises(ValueError, match=r"floats\.tif: expected a picture \(it has floats"):
        inputs.read_picture(tmp_path / "floats.tif")


def test_pictures_of_other_shapes_keep_them_in_a_video(tmp_path):
    Image.fromarray(np.full((40, 64, 3), 200, np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.full((80, 40, 3), 200, np.uint8)).save(tmp_path / "1.png")
    Image.fromarray(np.full((20, 32, 3), 200, np.uint8)).save(tmp_path / "2.png")
    assert stylize(tmp_path / "?.png", "-o", tmp_path / "out.mkv", "--radius", "1", "--colour", "1") == 0
    first, tall, small = (one.rgb8.astype(int) for one in pictures(tmp_path / "out.mkv"))
    assert min(first.min(), small.min()) > 190, "they fill it"
    middle = tall[:, 24:40]
    assert middle.min() > 190 and max(tall[:, :20].max(), tall[:, 44:].max()) < 10 and middle.shape == (40, 16, 3)


def test_what_nobody_sees_of_a_picture_does_not_run_into_the_rest(tmp_path):
    rgba = np.zeros((40, 60, 4), np.uint8)
    rgba[:, :30] = (200, 120, 40, 255)
    rgba[:, 30:, :3] = (0, 255, 0)  # clear, and of a colour that nobody sees
    Image.fromarray(rgba).save(tmp_path / "half.png")
    assert stylize(tmp_path / "half.png", "-o", tmp_path / "out.png", "--colour", "1") == 0
    assert np.abs(picture(tmp_path / "out.png")[:, :30, :3].astype(int) - (200, 120, 40)).max() <= 1


def profile(colorants, name=b"turned"):
    """An ICC profile (version 2) of a display with sRGB's curve, and colorants [3, 3] in XYZ of D50, one a row."""

    def xyz(values):
        return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))

    levels = np.linspace(0, 1, 1024)
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    curve = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *np.round(linear * 65535).astype(int))
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name + bytes(79),
        b"cprt": b"text\0\0\0\0none\0",
        b"wtpt": xyz(D50),
    }
    tags |= {letter + b"XYZ": xyz(row) for letter, row in zip((b"r", b"g", b"b"), colorants, strict=True)}
    tags |= {letter + b"TRC": curve for letter in (b"r", b"g", b"b")}
    place, table, body = 132 + 12 * len(tags), b"", b""
    for tag, data in tags.items():
        table += tag + struct.pack(">2I", place + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(body), bytes(4), 0x02100000, b"mntr", b"RGB ", b"XYZ ") + bytes(12) + b"acsp"
    return head.ljust(68, b"\0") + xyz(D50)[8:] + bytes(48) + struct.pack(">I", len(tags)) + table + body


D50 = (0.9642, 1.0, 0.8249)
COLORANTS = np.array([(0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)])  # sRGB's


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_those_that_a_pictures_profile_tells(tmp_path, mode):
    """Of a display whose red is blue and whose blue is red."""
    rgb = clouds(40, 60)
    image = Image.fromarray(rgb)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(np.linspace(1, 255, 2400).reshape(40, 60).astype(np.uint8)))
    named = {"turned": (profile(COLORANTS[::-1]), rgb[..., ::-1]), "ours": (profile(COLORANTS[::-1], b"sRGB"), rgb), "none": (b"no", rgb)}
    for name, (icc, expected) in named.items():
        image.save(tmp_path / f"{name}.png", icc_profile=icc)
        found, alpha = inputs.read_picture(tmp_path / f"{name}.png")
        assert np.abs(found.astype(int) - expected).max() <= (2 if name == "turned" else 0)
        assert (alpha is not None) == (mode == "RGBA") and (alpha is None or np.array_equal(alpha, np.array(image)[..., 3]))


@pytest.mark.parametrize("what", ["folder", "pattern", "names"])
def test_several_pictures_keep_their_names(tmp_path, what):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(smooth(number)).save(folder / f"photo {number}.{'jpg' if number == 1 else 'png'}", quality=95)
    words = {"folder": [folder], "pattern": [folder / "*.png"], "names": sorted(folder.iterdir())}[what]
    assert stylize(*words, "-o", tmp_path / "out" / "deep", "--style", "toon") == 0
    names = sorted(one.name for one in (tmp_path / "out" / "deep").iterdir())
    assert names == (["photo 0.png", "photo 2.png"] if what == "pattern" else ["photo 0.png", "photo 1.jpg", "photo 2.png"])
    np.testing.assert_array_equal(picture(tmp_path / "out" / "deep" / "photo 2.png"), FILTERS["toon"]().style(frame(smooth(2))))


def test_one_picture_that_cannot_be_read_does_not_keep_the_others(capsys, tmp_path):
    for number in range(3):
        Image.fromarray(smooth(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_text("broken")
    assert stylize(tmp_path / "?.png", "-o", tmp_path / "out") == 2
    assert sorted(one.name for one in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]
    assert "1.png: expected a picture" in capsys.readouterr().err
