"""Distillation: that a student learns, that it is a model like others, and that training goes on after whatever ended it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import tiny_diffusion
import torch
from PIL import Image
from wide_networks import network, widened

import splatview
from splatview import Camera
from splatview.cli import main
from splatview.frame import Frame
from splatview.scene import Layer, Scene
from splatview.stylize import checkpoints, models, saving
from splatview.stylize.catalogue import Choice
from splatview.stylize.diffusing import Diffusing
from splatview.stylize.distillation import Distillation, Recipe, lessons
from splatview.stylize.opening import open_diffusion

pytestmark = pytest.mark.xdist_group("diffusion")


@pytest.fixture
def exact(monkeypatch):
    """float32, added up in the same order every time; and quick: threads of one machine are waited for by others."""
    monkeypatch.setattr(models, "dtype_on", lambda device: torch.float32)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Frames of our own: a scene of coloured blobs, seen from around."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for number in range(9):
        blobs = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (80, 64), interpolation=cv2.INTER_CUBIC)
        Image.fromarray(blobs).save(folder / f"{number:02d}.png")
    return folder


@pytest.fixture(scope="module")
def teacher(tiny_sd, tmp_path_factory):
    """Like trained networks it has channels that say little new: those of a smaller one, twice, and something on top."""
    folder = tmp_path_factory.mktemp("teacher") / "teacher"
    shutil.copytree(tiny_sd("turbo"), folder)
    wide = widened(network(1, block_out_channels=(8, 16)))
    torch.manual_seed(5)
    for value in wide.parameters():
        if value.ndim > 1:
            value.add_(0.4 * torch.randn_like(value) / value[0].numel() ** 0.5)
    wide.save_pretrained(folder / "unet")
    return folder


def begun(teacher, pictures, **more) -> Distillation:
    model = models.load(Choice(str(teacher), device="cpu"))
    frames = [np.asarray(Image.open(path)) for path in sorted(pictures.iterdir())]
    return Distillation(model, lessons(model, frames, ("", "a fox")), Recipe(**more))


def test_a_student_learns_what_its_teacher_says_and_inheriting_helps(teacher, pictures, exact):
    training = begun(teacher, pictures)
    first, steps = training.error(), 120
    for step in range(steps):
        training.step(step / steps)
    assert len(training.lessons.latents) == 16 and len(training.lessons.held_out) == 2
    assert training.error() < first / 5 and first < 0.6
    fresh = network(7, block_out_channels=(8, 16)).state_dict()
    training._average.network.load_state_dict(fresh)
    assert training.error() > 0.9


def test_the_whole_of_a_teacher_has_nothing_to_learn(teacher, pictures, exact):
    assert begun(teacher, pictures, compress=1.0).error() < 1e-9


def test_a_restored_training_goes_on_as_if_nothing_had_happened(teacher, pictures, exact, tmp_path):
    whole, half, other = (begun(teacher, pictures, batch=2) for _ in range(3))
    for _ in range(6):
        whole.step(0.1)
    for _ in range(3):
        half.step(0.1)
    checkpoints.save(tmp_path / "c", *half.state())
    other.restore(*checkpoints.load(tmp_path / "c"))
    for _ in range(3):
        errors = other.step(0.1)
    assert other.steps == whole.steps == 6 and torch.isfinite(errors).all()
    for one, same in ((other.student, whole.student), (other._average, whole._average)):
        assert all(torch.equal(value, same.state_dict()[name]) for name, value in one.state_dict().items())
    with pytest.raises(ValueError, match="expected a training of"):
        begun(teacher, pictures, seed=5, batch=2).restore(*half.state())
    tensors, facts = half.state()
    for lacking in ("random", "average", "adam"):
        with pytest.raises(ValueError, match="expected a whole checkpoint"):
            other.restore({name: value for name, value in tensors.items() if not name.startswith(lacking)}, facts)


# Checkpoints


def test_whenever_saving_ends_there_is_a_whole_checkpoint(tmp_path, monkeypatch):
    """Every step that it takes on the disk is the last one, once."""
    old, new = ({"a": torch.full((3,), float(number))} for number in range(2))
    done: list[str] = []

    def counted(call, most):
        def run(*arguments, **more):
            if len(done) >= most:
                raise KeyboardInterrupt
            done.append(call.__name__)
            return call(*arguments, **more)

        return run

    seen = set()
    for most in range(20):
        folder = tmp_path / str(most)
        checkpoints.save(folder, old, {"steps": 1})
        done.clear()
        with monkeypatch.context() as patch:
            for place, name in ((checkpoints, "save_file"), (checkpoints.os, "fsync"), (Path, "replace"), (Path, "unlink")):
                patch.setattr(place, name, counted(getattr(place, name), most))
            try:
                checkpoints.save(folder, new, {"steps": 2})
                ended = True
            except KeyboardInterrupt:
                ended = False
        tensors, facts = checkpoints.load(folder)
        assert (facts["steps"], float(tensors["a"][0])) in ((1, 0.0), (2, 1.0))
        seen.add((facts["steps"], ended))
        checkpoints.save(folder, new, {"steps": 3})
        assert len(list(folder.iterdir())) == 2
        checkpoints.remove(folder)
        assert not folder.exists()
    assert seen == {(1, False), (2, False), (2, True)}


def test_a_damaged_checkpoint_is_one_line(tmp_path):
    checkpoints.save(tmp_path, {"a": torch.ones(3)}, {"steps": 1})
    [numbers] = tmp_path.glob("*.safetensors")
    numbers.write_bytes(numbers.read_bytes()[:-2])
    for content in ((tmp_path / "state.json").read_bytes(), b"{}", b"[]", b"no", b'{"numbers": "../../x"}'):
        (tmp_path / "state.json").write_bytes(content)
        with pytest.raises(ValueError, match="expected a checkpoint of splatview distill") as fault:
            checkpoints.load(tmp_path)
        assert "\n" not in str(fault.value)


# The command


FLAGS = ["--size", "64", "--device", "cpu", "--batch", "2", "--prompt", "a fox"]


def test_the_student_redraws_frames_in_the_engine_and_in_diffusers(teacher, pictures, exact, tmp_path, capsys, monkeypatch):
    from diffusers import StableDiffusionPipeline

    monkeypatch.setenv("SPLATVIEW_MODELS", str(tmp_path))
    command = ["distill", "--teacher", str(teacher), "--data", str(pictures / "*.png"), "--steps", "25", *FLAGS]
    assert main(command) == 0
    told = capsys.readouterr()
    assert "9 pictures of 72 x 64, 1 held out" in told.out and "0.2 M numbers become 0.1 M: 8 16 channels" in told.out
    assert "25 steps" in told.out and not told.err
    assert [path.name for path in (tmp_path / "distilled").iterdir()] == ["teacher-0.5"]
    assert main(["models"]) == 0 and "distilled/teacher-0.5" in capsys.readouterr().out

    frame = Frame(
        Camera.look_at((0, -3, 1), (0, 0, 0), (0, 0, 1), 0.8, 72, 64), {"rgb": np.random.default_rng(0).random((64, 72, 3), np.float32)}
    )
    shown = []
    for name in ("distilled/teacher-0.5", str(teacher)):
        with closing(open_diffusion(Choice(name, device="cpu"), Diffusing(size=64, transition=0))) as stylizer:
            shown.append(stylizer.style(frame).astype(float))
    apart = [np.abs(shown[0] - other).mean() for other in (shown[1], 255 * frame.rgb)]
    assert apart[0] < apart[1] / 2 and shown[0].std() > 5
    with tiny_diffusion.quiet():
        pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "distilled/teacher-0.5", local_files_only=True)
    assert pipeline.unet.config.block_out_channels == [8, 16] and type(pipeline.scheduler).__name__ == "EulerDiscreteScheduler"
    assert main(command) == 2 and "expected a new folder" in capsys.readouterr().err


def test_what_a_lora_made_quick_is_known_to_be(teacher, pictures, exact, tmp_path):
    training = begun(teacher, pictures)
    saving.write(replace(training.model(), family="lcm"), teacher, tmp_path / "student")
    found = models.load(Choice(str(tmp_path / "student"), device="cpu"))
    assert found.family == "lcm" and found.prediction == training.teacher.prediction
    assert np.allclose(found.table, training.teacher.table)
    for name, value in training._average.state_dict().items():
        assert torch.allclose(found.unet.state_dict()[name], value, atol=1e-3)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_goes_on(teacher, pictures, exact, tmp_path, capsys, monkeypatch, kind):
    flags = ["distill", "--teacher", str(teacher), "--data", str(pictures), "-o", str(tmp_path / "s"), "--steps", "6", *FLAGS]
    whole = Distillation.step

    def interrupted(training, progress):
        if training.steps == 3:
            signal.raise_signal(kind)  # in the middle of a step, which is made whole first
        return whole(training, progress)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "step", interrupted)
        if kind == signal.SIGTERM:
            with pytest.raises(SystemExit) as exit:
                main(flags)
            assert exit.value.code == 143
        else:
            assert main(flags) == 130
    assert "--resume goes on" in capsys.readouterr().out and not (tmp_path / "s").exists()
    assert main(flags) == 2
    assert "--resume goes on with it, --restart begins anew" in capsys.readouterr().err
    assert main([*flags, "--resume", "--seed", "3"]) == 2
    told = capsys.readouterr().err
    assert "expected a training of" in told and told.count("\n") == 1
    assert main([*flags, "--resume"]) == 0
    assert "going on after 4 steps" in capsys.readouterr().out and list(tmp_path.iterdir()) == [tmp_path / "s"]


def test_what_was_learned_is_kept_if_it_cannot_be_written(teacher, pictures, exact, tmp_path, capsys, monkeypatch):
    flags = ["distill", "--teacher", str(teacher), "--data", str(pictures), "-o", str(tmp_path / "s"), "--steps", "2", *FLAGS]
    write = saving.write
    full = lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device", str(tmp_path / "s")))
    with monkeypatch.context() as patch:
        patch.setattr(saving, "write", full)
        assert main(flags) == 2
    told = capsys.readouterr()
    assert told.err == f"splatview: {tmp_path / 's'}: No space left on device\n" and "what was learned is kept; --resume" in told.out
    assert saving.write is write and main([*flags, "--resume"]) == 0
    assert "going on after 2 steps" in capsys.readouterr().out and list(tmp_path.iterdir()) == [tmp_path / "s"]


def test_of_a_model_that_cannot_be_written_nothing_is_left(teacher, pictures, exact, tmp_path):
    """In a process of its own, as files may only have 100 kB there."""
    code = """
import resource, sys
from pathlib import Path
from test_stylize_distill import begun
from splatview.stylize import checkpoints, saving
training = begun(Path(sys.argv[1]), Path(sys.argv[2]))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for write in (lambda: saving.write(training.model(), Path(sys.argv[1]), Path("s")), lambda: checkpoints.save(Path("c"), *training.state())):
    try:
        write()
    except OSError as error:
        print(error)
"""
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "tools")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    words = [sys.executable, "-B", "-c", code, str(teacher), str(pictures)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    first, second = done.stdout.splitlines()
    assert "File too large" in first and "File too large" in second, done.stdout
    assert [one.name for one in tmp_path.iterdir()] == ["c"] and not list((tmp_path / "c").iterdir())


def test_nothing_but_a_checkpoint_of_ours_is_taken_away(teacher, pictures, tmp_path, capsys):
    (tmp_path / "s.ckpt").mkdir()
    (tmp_path / "s.ckpt" / "thesis.txt").write_text("precious")
    (tmp_path / "t.ckpt").write_text("another model of mine")
    for name in ("s", "t"):
        given = ["--teacher", str(teacher), "--data", str(pictures), "-o", str(tmp_path / name), *FLAGS, "--steps", "1"]
        assert main(["distill", *given, "--restart"]) == 2
        assert "there is something else" in capsys.readouterr().err
    checkpoints.save(tmp_path / "s.ckpt", {"a": torch.ones(3)}, {"steps": 1})
    checkpoints.save(tmp_path / "s.ckpt", {"a": torch.ones(3)}, {"steps": 2})
    checkpoints.remove(tmp_path / "s.ckpt")
    assert [one.name for one in (tmp_path / "s.ckpt").iterdir()] == ["thesis.txt"]


def test_a_student_as_narrow_as_it_gets_learns_too(teacher, pictures, exact):
    """Its blocks are all as wide, and need no shortcuts from one width to another."""
    training = begun(teacher, pictures, compress=0.01)
    assert len(set(training.widths)) == 1
    first = training.error()
    for _ in range(20):
        training.step(0.1)
    assert training.error() < first


def test_a_scene_is_drawn_from_around(teacher, exact, tmp_path, capsys, random_gaussians):
    splatview.save(Scene({"cloud": Layer(random_gaussians(300))}), tmp_path / "cloud.ply")
    flags = ["--views", "3", "--backend", "cpu", "--steps", "1", *FLAGS]
    assert main(["distill", "--teacher", str(teacher), "--data", str(tmp_path / "cloud.ply"), "-o", str(tmp_path / "s"), *flags]) == 0
    assert "3 pictures of 64 x 64, 1 held out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--teacher", "nobody/nothing"], "the model nobody/nothing is not on this machine"),
        (["--teacher", "{pictures}"], "expected a whole diffusers pipeline"),
        (["--data", "no/such.ply"], "no/such.ply"),
        (["--data", "no/*.png"], "there is no such picture"),
        (["--data", "{broken}"], "expected a picture"),
        (["--compress", "1.5"], "--compress: expected a share over 0 and up to 1, got 1.5"),
        (["--minutes", "-1"], "expected more than 0"),
        (["--size", "8"], "--size: expected 64 to 2048, got 8"),
        (["--views", "0"], "expected 1 or more"),
        (["--batch", "257"], "--batch: expected 1 to 256, got 257"),
        (["--seed", "-1"], "--seed: expected a whole number from 0 on"),
        (["--seed", str(2**63)], "--seed: expected a whole number from 0 on"),
        (["-o", "{broken}/a.png/s"], "a.png"),
        (["-o", "/proc/s"], "nothing can be written there"),
        (["--resume"], "there is no"),
        (["--resume", "--restart"], "expected one of them"),
        (["-o", "{pictures}"], "expected a new folder"),
    ],
)
def test_what_the_command_cannot_do_is_one_line(teacher, pictures, tmp_path, capsys, arguments, message):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/a.png").write_bytes(b"no picture")
    words = [word.format(pictures=pictures, broken=tmp_path / "broken") for word in arguments]
    given = ["--teacher", str(teacher), "--data", str(pictures), "-o", str(tmp_path / "s"), *FLAGS, "--steps", "1", *words]
    assert main(["distill", *given]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
