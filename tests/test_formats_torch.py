"""Files of torch.save: what torch loads is what is read, without torch, and nothing in a file is run."""

import io
import os
import pickle
import tracemalloc
import zipfile
from collections import Counter, OrderedDict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import splatview
from splatview.formats import checkpoint, pickled
from splatview.formats.files import open_file

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A place for one checkpoint that each example writes again."""
    return tmp_path_factory.mktemp("checkpoints") / "a.pt"


def read(path):
    """What lies in a checkpoint, tensors as arrays."""
    with open_file(path) as data:
        return as_arrays(checkpoint.read(data))


def as_arrays(value):
    """`value` with every tensor, ours or torch's, as a numpy array."""
    if isinstance(value, checkpoint.Tensor):
        return value.read()
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, dict):
        return {key: as_arrays(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return type(value)(as_arrays(entry) for entry in value) if type(value) in (tuple, list) else tuple(map(as_arrays, value))
    return value


def assert_same(read, truth):
    assert type(read) is type(truth)
    if isinstance(truth, np.ndarray):
        assert read.dtype == truth.dtype and read.shape == truth.shape
        np.testing.assert_array_equal(read, truth)
    elif isinstance(truth, dict):
        assert list(read) == list(truth)
        for key, value in truth.items():
            assert_same(read[key], value)
    elif isinstance(truth, tuple | list):
        assert len(read) == len(truth)
        for one, other in zip(read, truth, strict=True):
            assert_same(one, other)
    else:
        assert read == truth or (read != read and truth != truth)


# --- parity with torch ----------------------------------------------------------------------------------------

TYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


@st.composite
def tensors(draw):
    """Tensors of every type, whole ones and views: transposed, sliced, strided, expanded, empty; parameters too."""
    dtype = draw(st.sampled_from([*TYPES, torch.bool]))
    shape = draw(st.lists(st.integers(0, 4), max_size=4))
    tensor = (torch.randn(shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 99)))) * 50).to(dtype)
    for _ in range(draw(st.integers(0, 2))):
        match draw(st.integers(0, 3)):
            case 0 if tensor.ndim >= 2:
                tensor = tensor.transpose(0, -1)
            case 1 if tensor.ndim and len(tensor):
                tensor = tensor[draw(st.integers(0, len(tensor) - 1)) :: draw(st.integers(1, 3))]
            case 2 if tensor.ndim:
                tensor = tensor.unsqueeze(0).expand(draw(st.integers(1, 3)), *tensor.shape)
            case 3 if tensor.ndim and len(tensor):
                tensor = tensor[0]
    return torch.nn.Parameter(tensor, requires_grad=False) if draw(st.booleans()) else tensor


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5)
keys = st.text(max_size=5) | st.integers(-5, 5)
trees = st.recursive(
    scalars | tensors(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(keys, inner, max_size=4)
        | st.dictionaries(keys, inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(trees, st.sampled_from([2, 4]))
def test_everything_is_as_torch_loads_it(path, tree, protocol):
    torch.save(tree, path, pickle_protocol=protocol)
    truth = torch.load(path, weights_only=protocol == 2)  # its safe reader knows protocol 2 only
    assert_same(read(path), as_arrays(plain(truth)))


def plain(value):
    """Ordered dicts as plain ones, which is what we give."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return type(value)(map(plain, value)) if type(value) in (list, tuple) else value


@given(st.data())
def test_tensors_that_share_a_storage(path, data):
    whole = torch.arange(60.0)
    views = {}
    for name in "abcd":
        rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
        views[name] = whole.as_strided(
            (rows, columns), (data.draw(st.integers(0, 6)), data.draw(st.integers(0, 6))), data.draw(st.integers(0, 8))
        )
    torch.save(views, path)
    assert_same(read(path), as_arrays(torch.load(path, weights_only=True)))
    assert len([name for name in zipfile.ZipFile(path).namelist() if "/data/" in name]) == 1


def test_a_trainers_whole_state(path):
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).half()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    model.float()(torch.ones(2, 3)).sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizers": {"all": optimizer.state_dict()}, "size": torch.Size([3, 4]), "step": 7}
    torch.save(state, path)
    truth = torch.load(path, weights_only=True)
    assert_same(read(path), as_arrays(plain({**truth, "size": tuple(truth["size"])})))


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, np.int64, np.int32, np.uint8, np.bool_])
def test_numpy_scalars_of_schedulers_are_read(path, kind):
    """What nerfstudio's schedulers leave in its checkpoints, and torch's safe reader refuses."""
    torch.save({"rates": [kind(1)], "milestones": Counter([3, 3, 5]), "device": torch.device("cpu")}, path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert read(path) == {"rates": [1], "milestones": {3: 2, 5: 1}, "device": None}


def test_both_byte_orders(path, tmp_path):
    tree = {str(dtype): (torch.arange(-3, 9) * 3).to(dtype).reshape(3, 4).T for dtype in TYPES}
    torch.save(tree, path)
    swapped = tmp_path / "big.pt"
    sizes = {f"{path.stem}/data/{index}": tree[name].element_size() for index, name in enumerate(tree)}
    with zipfile.ZipFile(path) as little, zipfile.ZipFile(swapped, "w") as big:
        for name in little.namelist():
            content = little.read(name)
            if name in sizes:
                content = np.frombuffer(content, np.uint8).reshape(-1, sizes[name])[:, ::-1].tobytes()
            big.writestr(name, b"big" if name.endswith("byteorder") else content)
    assert_same(read(swapped), as_arrays(torch.load(path, weights_only=True)))
    assert_same(read(swapped), as_arrays(torch.load(swapped, weights_only=True)))


# --- hostile input --------------------------------------------------------------------------------------------


def zipped(tree, storages=(), *, order=b"little", compress=zipfile.ZIP_STORED):
    """A checkpoint of this pickle [bytes] and storages [bytes]."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compress) as archive:
        archive.writestr("a/data.pkl", tree)
        archive.writestr("a/byteorder", order)
        for index, storage in enumerate(storages):
            archive.writestr(f"a/data/{index}", storage)
    return stream.getvalue()


def refused(path, data, megabytes=1):
    """`data` is refused with a reason, without taking much memory for it."""
    path.write_bytes(data)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError) as error:
            splatview.load(path)
        assert tracemalloc.get_traced_memory()[1] < megabytes * MEGABYTE
    finally:
        tracemalloc.stop()
    return str(error.value)


GLOBALS = {"os.system": b"cos\nsystem\n", "builtins.eval": b"cbuiltins\neval\n", "posix.system": b"cposix\nsystem\n"}


@pytest.mark.parametrize("name", GLOBALS)
def test_nothing_in_a_checkpoint_is_run(path, tmp_path, name):
    harm = tmp_path / "harm"
    command = f"__import__('os').mkdir({str(harm)!r})" if name == "builtins.eval" else f"mkdir {harm}"
    program = b"\x80\x02" + GLOBALS[name] + b"X" + len(command).to_bytes(4, "little") + command.encode() + b"\x85R."
    pickle.loads(program)
    assert harm.exists()  # it would have been
    harm.rmdir()
    assert name in refused(path, zipped(program))
    assert not harm.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_objects_of_any_class_are_refused(path, tmp_path, protocol):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    assert "expected" in refused(path, zipped(pickle.dumps({"splats": Harm()}, protocol)))
    assert not (tmp_path / "harm").exists()


def numbers(count):
    return b"\x8a" + bytes([len(data := count.to_bytes(9, "little", signed=True))]) + data


def tensor(offset=0, shape=(2, 3), strides=(3, 1), key="0", count=6, kind=b"FloatStorage"):
    """The pickle of one tensor."""
    sizes = b"(" + b"".join(map(numbers, shape)) + b"t(" + b"".join(map(numbers, strides)) + b"t"
    reference = b"(X\x07\0\0\0storagectorch\n" + kind + b"\nX\x01\0\0\0" + key.encode() + b"X\x03\0\0\0cpu" + numbers(count) + b"tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + reference + numbers(offset) + sizes + b"\x89ccollections\nOrderedDict\n)RtR"


def program(body):
    return b"\x80\x02}X\x05\0\0\0means" + body + b"s."


FLOATS = np.arange(6, dtype="<f4").tobytes()


def test_the_tensors_of_these_tests_are_good(path):
    path.write_bytes(zipped(program(tensor()), [FLOATS]))
    np.testing.assert_array_equal(read(path)["means"], [[0, 1, 2], [3, 4, 5]])
    path.write_bytes(zipped(program(tensor(1, (2, 2), (1, 3))), [FLOATS]))
    np.testing.assert_array_equal(read(path)["means"], [[1, 4], [2, 5]])


@pytest.mark.parametrize(
    "bad",
    [
        {"offset": 1},
        {"offset": -1},
        {"offset": 2**60},
        {"shape": (2, 4)},
        {"shape": (2**40, 3)},
        {"shape": (2**40, 2**40)},
        {"shape": (-2, 3)},
        {"shape": (2,)},
        {"strides": (-3, 1)},
        {"strides": (3, -1)},
        {"strides": (2**60, 1)},
        {"strides": (1,)},
        {"shape": (2**40, 3), "strides": (0, 1)},
        {"shape": (1 << 21, 3), "strides": (0, 0)},
        {"shape": (1,) * 64, "strides": (0,) * 64},
        {"count": 2**40, "shape": (2**38, 3)},
        {"count": -1},
        {"count": 7, "shape": (7, 1), "strides": (1, 1)},
        {"count": 5, "shape": (5, 1), "strides": (1, 1)},
        {"key": "1"},
        {"key": "/"},
        {"kind": b"ComplexFloatStorage"},
        {"kind": b"DoubleStorage"},
        {"kind": b"HalfStorage"},
    ],
    ids=str,
)
def test_views_beyond_their_storage_are_refused(path, bad):
    path.write_bytes(zipped(program(tensor(**bad)), [FLOATS]))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"expected|beyond|damaged"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    tracemalloc.stop()


def test_a_view_of_nothing_may_start_anywhere(path):
    path.write_bytes(zipped(program(tensor(2**50, (0, 3), (2**50, 1))), [FLOATS]))
    assert read(path)["means"].shape == (0, 3)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"\x80\x02.", "IndexError"),
        (b"\x80\x02h\x07.", "KeyError"),
        (b"\x80\x02e.", "IndexError"),
        (b"\x80\x02}", "cut short"),
        (b"", "cut short"),
        (b"\x80\x02\x8b\xff\xff\xff\x7f", "numbers up to 9 bytes"),
        (b"\x80\x02\x8d" + b"\xff" * 8, "cut short"),
        (b"\x80\x02X\xff\xff\xff\xff", "cut short"),
        (b"\x80\x02X\x01\0\0\0\xff.", "UnicodeDecodeError"),
        (b"\x80\x02NNb.", "NoneType with a state"),
        (b"\x80\x02]}}a.", "found a list|instruction|damaged|found a dict"),
        (b"\x80\x02N)R.", "no function"),
        (b"\x80\x02ctorch\nSize\nNR.", "no function"),
        (b"\x80\x02ctorch\nSize\n)R.", "cannot be made"),
        (b"\x80\x02cnumpy\ndtype\nX\x02\0\0\0O8\x85R.", "numpy scalars of real numbers"),
        (b"\x80\x02c" + b"x" * 300 + b"\nfoo\n.", "name"),
        (b"\x80\x02}N\x85Ns.", "as keys"),
        (b"\x80\x02}]Ns.", "as keys"),
        (b"I1\n.", "instruction"),
        (b"(lp0\n.", "instruction"),
        (b"\x80\x02\x82\x01.", "instruction"),
        (b"\x80\x02N2.", "instruction"),
    ],
)
def test_damaged_pickles_are_refused(path, body, why):
    assert any(reason in (message := refused(path, zipped(body))) for reason in why.split("|")), message


def test_bombs_of_the_memo_stay_small(path, monkeypatch):
    """A dict that holds itself, lists of lists of lists, and a text that is asked for again and again."""
    assert refused(path, zipped(b"\x80\x02}q\0X\x01\0\0\0ah\0s."))  # contains itself
    billions = (
        b"\x80\x02]q\0"
        + b"".join(b"]q" + bytes([n]) + b"(" + b"h" + bytes([n - 1]) + b"h" + bytes([n - 1]) + b"e" for n in range(1, 200))
        + b"."
    )
    assert refused(path, zipped(billions))
    deep = b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b"."
    assert refused(path, zipped(deep), megabytes=16)
    assert "at most" in refused(path, zipped(b"\x80\x02" + b"N0" * pickled.MOST_BYTES), megabytes=64)
    text = b"\x80\x04X\x00\x00\x80\x00" + b"x" * (1 << 23) + b"q\0"
    for again in (b"h\0h\0\x93", b"c_codecs\nencode\nh\0\x85R", tensor(key="0").replace(b"X\x01\0\0\x000", b"h\0")):
        assert refused(path, zipped(text + again * 1000 + b"."), megabytes=64)
    many = b"\x80\x04(" + b"K\0" * 50_000 + b"tq\0"
    for again in (b"ctorch\nSize\nh\0R", tensor().replace(b"(" + numbers(2) + numbers(3) + b"t", b"h\0")):
        assert refused(path, zipped(many + again * 1000 + b"."), megabytes=32)
    monkeypatch.setattr(pickled, "MOST_STEPS", 50_000)  # what a step may make is the same with fewer of them
    assert "instructions" in refused(path, zipped(b"\x80\x02" + b"]" * 60_000), megabytes=6)


@pytest.mark.parametrize("size", [2**31, 2**40])
def test_zip_bombs_are_refused(path, size):
    bomb = zipped(program(tensor(shape=(size // 12, 3), count=size // 12 * 3)), [bytes(64 * MEGABYTE)], compress=zipfile.ZIP_DEFLATED)
    assert len(bomb) < MEGABYTE
    path.write_bytes(bomb)
    tracemalloc.start()
    with pytest.raises(ValueError, match="cannot hold"):
        read(path)
    assert tracemalloc.get_traced_memory()[1] < MEGABYTE
    tracemalloc.stop()
    assert "at most" in refused(path, zipped(b"N" * (64 * MEGABYTE), compress=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_compression_that_zipfile_does_not_bound_is_refused(path, method):
    bomb = zipped(b"N" * (256 * MEGABYTE), compress=method)
    assert len(bomb) < MEGABYTE
    assert "compression method" in refused(path, bomb)


def test_odd_lists_of_entries_are_refused(path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(zipfile.ZipInfo("x"), b"")
    good = stream.getvalue()
    assert "found 0" in refused(path, good.replace(b"x", b"\0"))  # an entry without a name
    entry, end = good[31:-22], bytearray(good[-22:])
    many = (16 * MEGABYTE // len(entry) + 1) * len(entry)
    end[12:16] = many.to_bytes(4, "little")
    assert "list of entries" in refused(path, good[:31] + entry * (many // len(entry)) + bytes(end), megabytes=2)


def test_the_older_format_says_what_to_do(path):
    torch.save({"splats": {}}, path, _use_new_zipfile_serialization=False)
    assert "save it again" in refused(path, path.read_bytes())


@pytest.mark.parametrize("content", [b"hello", b"PK\x03\x04", b"PK\x05\x06" + bytes(18)])
def test_other_files_are_no_checkpoints(path, content):
    assert "expected" in refused(path, content)
    assert "byte order" in refused(path, zipped(program(tensor()), [FLOATS], order=b"middle"))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a/data.pkl", b"N.")
        archive.writestr("b/data.pkl", b"N.")
    assert "one entry 'data.pkl'" in refused(path, stream.getvalue())


@pytest.fixture(scope="module")
def good(path):
    shapes = {"means": (9, 3), "scales": (9, 3), "quats": (9, 4), "opacities": (9,), "sh0": (9, 1, 3), "shN": (9, 3, 3)}
    splats = {name: torch.ones(shape) for name, shape in shapes.items()}
    torch.save({"splats": splats, "optimizer": {0: {"step": 3, "rate": np.float64(1)}}}, path)
    return path.read_bytes()


@given(st.data())
def test_damaged_pickles_are_survived(path, good, data):
    """Any bytes of the pickle changed, the zip's sums correct."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    [name] = [name for name in entries if name.endswith("data.pkl")]
    damaged = bytearray(entries[name])
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    with zipfile.ZipFile(path, "w") as archive:
        for entry, content in entries.items():
            archive.writestr(entry, bytes(damaged) if entry == name else content)
    try:
        assert splatview.load(path).count == 9
    except ValueError as error:
        assert str(error)


@given(st.binary(max_size=60))
def test_any_pickle_is_survived(path, junk):
    path.write_bytes(zipped(b"\x80\x02" + junk))
    with pytest.raises(ValueError):
        splatview.load(path)
