"""Checkpoints of trainers: nerfstudio's splatfacto, gsplat and INRIA."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import splatview
from splatview.formats import checkpoint, yaml_scalars
from splatview.geometry import Similarity

MEGABYTE = 1 << 20


# --- splatfacto -----------------------------------------------------------------------------------------------

PARTS = {"means": 3, "scales": 3, "quats": 4, "opacities": 1}


@pytest.fixture(scope="module")
def run(data):
    return data / "nerf" / "nerfstudio_splatfacto"


def assert_equal(one, other):
    for name in ("means", "quats", "log_scales", "opacity_logits", "sh"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def only(scene):
    [layer] = scene.layers.values()
    return layer


@pytest.mark.parametrize("entry", ["", "config.yml", "nerfstudio_models", "nerfstudio_models/step-000029999.ckpt"])
def test_a_splatfacto_run_holds_the_leica(data, run, entry):
    """Bit for bit the Gaussians of the ply, which are in nerfstudio's frame; placed, they lie where the transforms came from."""
    scene = splatview.load(run / entry)
    layer = scene.layers["scene"]  # the experiment's name
    assert_equal(layer.content, only(splatview.load(data / "splats" / "leica-sofort-top8192.ply")).content)
    assert layer.content.kind == "classic" and layer.notes == ()
    moved = json.loads((run / "dataparser_transforms.json").read_text())
    matrix = np.array(moved["transform"])
    capture = layer.placement.apply(layer.content.means.astype(np.float64))
    np.testing.assert_allclose(moved["scale"] * (capture @ matrix[:, :3].T + matrix[:, 3]), layer.content.means, atol=1e-5)
    assert layer.placement.scale == pytest.approx(1 / moved["scale"])


def test_the_newest_step_is_read(data, run, tmp_path):
    (tmp_path / "nerfstudio_models").mkdir()
    shutil.copy(run / "config.yml", tmp_path)
    for step, count in ((9_999, 5), (1_000_000_000, 2), (999_999_999, 3)):
        save_run(tmp_path / "nerfstudio_models" / f"step-{step:09d}.ckpt", count=count)
    for entry in ("", "nerfstudio_models"):
        assert splatview.load(tmp_path / entry).count == 2
    assert splatview.load(tmp_path / "nerfstudio_models" / "step-000009999.ckpt").count == 5


def save_run(path, count=4, harmonics=15, prefix="_model.gauss_params.", **changed):
    generator = torch.Generator().manual_seed(0)
    shapes = {**{name: (count, width) for name, width in PARTS.items()}, "features_dc": (count, 3), "features_rest": (count, harmonics, 3)}
    state = {f"{prefix}{name}": changed.get(name, torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    torch.save({"step": 1, "pipeline": {k: v for k, v in state.items() if v is not None}, "optimizers": {}, "scalers": {}}, path)
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


@pytest.mark.parametrize("prefix", ["_model.gauss_params.", "_model.", "module._model.module.gauss_params.", "_model.module."])
def test_names_of_other_versions(tmp_path, prefix):
    truth = save_run(tmp_path / "step-000000001.ckpt", prefix=prefix)
    layer = only(splatview.load(tmp_path / "step-000000001.ckpt"))
    np.testing.assert_array_equal(layer.content.means, truth["means"])
    np.testing.assert_array_equal(layer.content.sh[:, 1:], truth["features_rest"])
    assert layer.placement == Similarity()
    assert any("dataparser_transforms.json" in note for note in layer.notes) and any("antialiased" in note for note in layer.notes)


def test_without_harmonics_the_colours_are_logits(tmp_path):
    truth = save_run(tmp_path / "a.ckpt", harmonics=0)
    splats = only(splatview.load(tmp_path / "a.ckpt")).content
    assert splats.sh_degree == 0
    np.testing.assert_allclose(splats.colours, torch.sigmoid(truth["features_dc"]), atol=1e-6)


def test_the_config_says_antialiased(run, tmp_path):
    (tmp_path / "nerfstudio_models").mkdir()
    save_run(tmp_path / "nerfstudio_models" / "step-000000001.ckpt")
    text = (run / "config.yml").read_text()
    (tmp_path / "config.yml").write_text(
        text.replace("rasterize_mode: classic", "rasterize_mode: antialiased").replace(": scene\n", ": my house\n")
    )
    scene = splatview.load(tmp_path)
    assert list(scene.layers) == ["my house"] and only(scene).content.kind == "antialiased"


def test_another_method_is_named(data, tmp_path):
    (tmp_path / "nerfstudio_models").mkdir()
    torch.save({"pipeline": {"_model.field.x": torch.zeros(3)}}, tmp_path / "nerfstudio_models" / "step-000000100.ckpt")
    with pytest.raises(ValueError, match=r"splatfacto.*another kind"):
        splatview.load(tmp_path / "nerfstudio_models" / "step-000000100.ckpt")
    shutil.copy(data / "nerf" / "nerfstudio_ngp" / "config.yml", tmp_path)
    with pytest.raises(ValueError, match=r"splatfacto.*'instant-ngp'"):
        splatview.load(tmp_path)


def test_a_run_without_checkpoints(run, tmp_path):
    shutil.copy(run / "config.yml", tmp_path)
    with pytest.raises(ValueError, match=r"nerfstudio_models/step-\*\.ckpt beside config\.yml, found none"):
        splatview.load(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"transform": 3, "scale": 1}',
        '{"transform": [[1,0,0,0],[0,1,0,0],[0,0,1,0]], "scale": 0}',
        '{"transform": [[1,0,0,0],[0,1,0,0],[0,0,1,0]], "scale": 1e999}',
        '{"transform": [[1,0,0,0],[0,1,0,0],[0,0,-1,0]], "scale": 1}',
    ],
    ids=["empty", "list", "nothing", "deep", "number", "no scale", "infinite", "mirrored"],
)
def test_damaged_transforms_are_refused(tmp_path, content):
    save_run(tmp_path / "a.ckpt")
    (tmp_path / "dataparser_transforms.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataparser_transforms\.json: expected 'transform'"):
        splatview.load(tmp_path / "a.ckpt")


# --- gsplat and INRIA -----------------------------------------------------------------------------------------


@pytest.fixture
def truth(random_gaussians):
    return random_gaussians(40, 3)


def splats_of(truth):
    arrays = {"means": truth.means, "quats": truth.quats, "scales": truth.log_scales, "opacities": truth.opacity_logits}
    return {name: torch.tensor(array) for name, array in {**arrays, "sh0": truth.sh[:, :1], "shN": truth.sh[:, 1:]}.items()}


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_gsplat_checkpoint(truth, tmp_path, wrapped):
    splats = torch.nn.ParameterDict(splats_of(truth)).state_dict()
    torch.save(
        {"step": 29_999, "splats": splats, "pose_adjust": torch.nn.Linear(2, 2).state_dict()} if wrapped else splats, tmp_path / "ckpt.pt"
    )
    layer = splatview.load(tmp_path / "ckpt.pt").layers["ckpt"]
    assert_equal(layer.content, truth)
    assert "does not say whether it was trained antialiased" in layer.notes[0]


@pytest.mark.parametrize(
    ("settings", "kind"), [("antialiased: true", "antialiased"), ("antialiased: false", "classic"), ("model_type: 2dgs", "2dgs")]
)
def test_the_settings_of_gsplats_trainer_are_found(truth, tmp_path, settings, kind):
    (tmp_path / "ckpts").mkdir()
    (tmp_path / "cfg.yml").write_text(f"{settings}\nstrategy: !!python/object:gsplat.strategy.default.DefaultStrategy\n  verbose: true\n")
    torch.save({"splats": splats_of(truth)}, tmp_path / "ckpts" / "ckpt_29999_rank0.pt")
    layer = only(splatview.load(tmp_path / "ckpts" / "ckpt_29999_rank0.pt"))
    assert layer.content.kind == kind
    assert not any("does not say" in note for note in layer.notes)
    assert (layer.content.log_scales[:, 2] < -10).all() == (kind == "2dgs")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32(truth, tmp_path, dtype):
    splats = {name: tensor.to(dtype) for name, tensor in splats_of(truth).items()}
    torch.save({"splats": splats}, tmp_path / "a.pt")
    np.testing.assert_array_equal(only(splatview.load(tmp_path / "a.pt")).content.sh[:, 1:], splats["shN"].float())


@pytest.mark.parametrize("flat", [False, True])
def test_an_inria_checkpoint(truth, tmp_path, flat):
    s = splats_of(truth)
    adam = torch.optim.Adam([torch.nn.Parameter(s["means"])]).state_dict()
    scales = torch.nn.Parameter(s["scales"][:, :2].contiguous() if flat else s["scales"])
    parameters = (3, torch.nn.Parameter(s["means"]), s["sh0"], s["shN"], scales, s["quats"], s["opacities"][:, None])
    rest = (torch.zeros(40), torch.zeros(40, 1), torch.zeros(40, 1), adam, np.float64(4.5))
    torch.save(((*parameters, *rest), 30_000), tmp_path / "chkpnt30000.pth")
    splats = splatview.load(tmp_path / "chkpnt30000.pth").layers["chkpnt30000"].content
    assert splats.kind == ("2dgs" if flat else "classic")
    assert_equal(splats, replace(truth, log_scales=splats.log_scales) if flat else truth)
    np.testing.assert_array_equal(splats.log_scales[:, :2], truth.log_scales[:, :2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": None}, "means"),
        ({"means": torch.zeros(0, 3)}, "at least one"),
        ({"means": torch.zeros(40)}, r"means of shape \[40, 3\], found shape \[40\]"),
        ({"means": torch.tensor(1.0)}, "at least one"),
        ({"quats": torch.zeros(39, 4)}, r"quats of shape \[40, 4\]"),
        ({"scales": torch.zeros(40, 1)}, r"scales of shape \[40, 3\]"),
        ({"opacities": "0.5"}, r"opacities of shape \[40\], found none"),
        ({"shN": torch.zeros(40, 14, 3)}, "rest of shape"),
        ({"shN": [1, 2]}, "rest of shape"),
        ({"sh0": None, "colors": torch.zeros(40, 3)}, "appearance network"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(truth, tmp_path, change, message):
    splats = {name: tensor for name, tensor in {**splats_of(truth), **change}.items() if tensor is not None}
    torch.save({"splats": splats}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=message):
        splatview.load(tmp_path / "a.pt")


@pytest.mark.parametrize(
    "tree", [{"model": torch.ones(3)}, [1, 2], None, {}, ((3,), 1), ((3, 1, 2), 5), 7, {"pipeline": 3}, {"splats": []}], ids=str
)
def test_other_checkpoints_say_what_they_hold(tmp_path, tree):
    torch.save(tree, tmp_path / "a.pt")
    with pytest.raises(ValueError, match="expected"):
        splatview.load(tmp_path / "a.pt")


@pytest.mark.parametrize("tree", [{"model": torch.ones(3)}, [1, 2], None, "abc", {"pipeline": 3}, ((3,), 1)], ids=str)
def test_a_run_whose_checkpoint_is_another_is_refused(run, tmp_path, tree):
    (tmp_path / "nerfstudio_models").mkdir()
    shutil.copy(run / "config.yml", tmp_path)
    torch.save(tree, tmp_path / "nerfstudio_models" / "step-000000001.ckpt")
    with pytest.raises(ValueError, match="expected"):
        splatview.load(tmp_path)


def test_a_checkpoint_without_suffix_is_recognised(truth, tmp_path):
    torch.save({"splats": splats_of(truth)}, tmp_path / "weights")
    assert_equal(splatview.load(tmp_path / "weights").layers["weights"].content, truth)


def test_a_checkpoint_is_saved_in_other_formats(truth, tmp_path):
    torch.save({"splats": splats_of(truth)}, tmp_path / "a.pt")
    splatview.save(splatview.load(tmp_path / "a.pt"), tmp_path / "a.ply")
    assert_equal(only(splatview.load(tmp_path / "a.ply")).content, truth)


def test_only_what_is_drawn_is_read(truth, tmp_path, monkeypatch):
    """An optimiser's state is twice as large as the scene."""
    torch.save({"splats": splats_of(truth), "optimizer": {index: torch.ones(1000) for index in range(20)}}, tmp_path / "a.pt")
    seen = []
    monkeypatch.setattr(checkpoint.Storage, "read", lambda self, read=checkpoint.Storage.read: seen.append(self.entry) or read(self))
    splatview.load(tmp_path / "a.pt")
    assert len(seen) == len(set(seen)) == 6


def test_checkpoints_need_no_torch(truth, tmp_path):
    torch.save({"splats": splats_of(truth)}, tmp_path / "a.pt")
    code = f"import sys; sys.modules['torch'] = None; import splatview; print(splatview.load({str(tmp_path / 'a.pt')!r}).count)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "40\n"


# --- settings -------------------------------------------------------------------------------------------------

names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
words = st.from_regex(r"[a-z0-9][a-z0-9./ -]{0,8}[a-z0-9]", fullmatch=True)
tags = st.sampled_from(["", "", "!!python/object:a.B ", "&id001 ", "&id002 !!python/name:torch.optim.adam.Adam "])


@st.composite
def settings(draw, above=()):
    """Lines of a YAML file, and the scalars that it holds."""
    lines, held = [], {}
    for name in draw(st.lists(names, max_size=4, unique=True)):
        start, path = f"{'  ' * len(above)}{name}: {draw(tags)}", (*above, name)
        match draw(st.integers(0, 4)):
            case 0 if len(above) < 3:
                inner, more = draw(settings(path))
                lines, held = [*lines, start.rstrip(), *inner], {**held, **more}
            case 1:
                lines += [start.rstrip(), f"{'  ' * len(above)}- {draw(words)}"]  # a list is passed over
            case _:
                held[".".join(path)] = value = draw(words)
                lines.append(start + draw(st.sampled_from(["", "'", '"'])).join(["", value, ""]))
    return lines, held


@given(settings())
def test_settings_are_found_by_their_path(example):
    lines, held = example
    assert yaml_scalars.parse("\n".join(lines)) == held


def test_tags_of_settings_are_not_followed(run):
    settings = yaml_scalars.read(run / "config.yml")
    assert settings["method_name"] == "splatfacto" and settings["pipeline.model.sh_degree"] == "3"
    assert settings["pipeline.model.camera_optimizer.mode"] == "off"
    assert yaml_scalars.parse("a: !!python/object/apply:os.system\n- touch harm\n") == {}


@given(st.text(max_size=200))
def test_any_text_has_settings(text):
    assert isinstance(yaml_scalars.parse(text), dict)
