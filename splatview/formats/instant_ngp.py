"""Instant-NGP snapshots: MessagePack of the configuration and the parameters; `.ingp` with gzip, zlib or nothing around it, or `.msgpack`.

The content stays in Instant-NGP's frame, into which the photos' world was moved by `(scale * x + offset).yzx`; the placement is the way
back. Its box is the unit cube, or one `aabb_scale` times as large about the same middle; rays march alike in all files.
"""

from __future__ import annotations

from math import log2

import msgspec
import numpy as np

from splatview import ngp, tcnn
from splatview.arrays import Doubles, Floats
from splatview.formats import instant_ngp_cells, instant_ngp_photos
from splatview.formats.files import Source
from splatview.formats.instant_ngp_container import unpack
from splatview.formats.instant_ngp_schema import Encoding, File, Head, Kind, Layers, Photos, Snapshot
from splatview.formats.report import Report
from splatview.geometry import Similarity, quat_from_matrix
from splatview.hashgrid import HARMONICS, MOST_LEVELS, HashGrid, Level, Network
from splatview.scene import Layer, Scene
from splatview.volumes import Box, Cut

_NETWORKS = ("fullyfusedmlp", "cutlassmlp", "megakernelmlp", "mlp")
_KINDS = {"sdf": "signed distances", "image": "a picture", "volume": "a volume"}


def read(source: Source, report: Report) -> Scene:
    """The field of a snapshot, placed in the world of its photos; ValueError if it is none, or one of another kind of field."""
    report.span = (0.0, 0.3)
    packed = source.data.read(report)
    report.span = (0.3, 1.0)
    return Scene({source.path.stem or source.path.name: decode(packed, report)})


def decode(data: bytes | memoryview, report: Report | None = None) -> Layer:
    """The field of a snapshot and its place; ValueError as in `read`."""
    report = report or Report()
    plain = unpack(data, report)
    try:
        _check_kind(msgspec.msgpack.decode(plain, type=Head).snapshot)
        content = msgspec.msgpack.decode(plain, type=File)
        levels, density, colour = _trained(content, report)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"ingp: expected a snapshot of Instant-NGP: {error}") from None
    report.progress(0.6, "reading the occupancy")
    snapshot, edge = content.snapshot, _edge(content.snapshot)
    box = ngp.box(edge)
    photos = _photos(snapshot)
    if any(photos.envmap_resolution):
        report.note("the scene was trained with an environment map, which is not shown")
    field = HashGrid(
        levels,
        density,
        colour,
        box,
        ngp.marching(edge),
        instant_ngp_cells.read(snapshot, edge.bit_length(), report),
        hdr=photos.is_hdr,
    )
    shown = {"cuts": _cuts(snapshot, box, report), "exposure": _finite("exposure", snapshot.exposure), "background": _background(snapshot)}
    return Layer(field, _placement(snapshot, report), viewpoints=instant_ngp_photos.read(photos, report), **shown)


def _check_kind(found: Kind) -> None:
    """ValueError if the snapshot is not of a radiance field, as this version of the format has it."""
    mode = found.mode.lower()
    if mode != "nerf":
        raise ValueError(f"ingp: expected a snapshot of mode 'nerf', found one of {_KINDS.get(mode, 'another kind')} ({mode!r:.40})")
    if found.version < 1:
        raise ValueError(f"ingp: expected a snapshot of version 1 or newer, found {found.version}: save it with a newer Instant-NGP")


def _photos(snapshot: Snapshot) -> Photos:
    return snapshot.nerf.dataset or Photos()


def _edge(snapshot: Snapshot) -> int:
    """Of the box: that is what Instant-NGP makes of it, whatever boxes are in the file."""
    found = _photos(snapshot).aabb_scale
    edge = snapshot.nerf.aabb_scale if found is None else found
    if edge not in ngp.EDGES:
        raise ValueError(f"ingp: expected an aabb_scale of 1, 2, 4, ... or 128, found {edge}")
    return edge


def _cuts(snapshot: Snapshot, box: Doubles, report: Report) -> tuple[Cut, ...]:
    """The box to which the snapshot was cropped in Instant-NGP, if it shows less than `box` [2, 3]; ValueError if it is none."""
    for title, one in (("aabb", snapshot.aabb), ("render_aabb", snapshot.render_aabb)):
        if one is not None and not np.isfinite([one.min, one.max]).all():
            raise ValueError(f"ingp: expected finite numbers in {title}, found {[one.min, one.max]}")
    if snapshot.render_aabb is None:
        return ()
    low, high = np.array([snapshot.render_aabb.min, snapshot.render_aabb.max])
    turn = np.eye(3) if snapshot.render_aabb_to_local is None else np.array(snapshot.render_aabb_to_local)
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are no rotation, and no box
        corners = np.stack(np.meshgrid(*box.T), axis=-1).reshape(-1, 3) @ turn.T
        if (corners >= low - 1e-4).all() and (corners <= high + 1e-4).all():
            return ()
        middle, size = turn.T @ ((low + high) / 2), high - low
        rigid = np.allclose(turn @ turn.T, np.eye(3), atol=1e-4) and np.linalg.det(turn) > 0
    if not (rigid and np.isfinite([middle, size]).all() and (size > 0).all()):
        report.note("the snapshot was cropped in Instant-NGP to something that is no box (render_aabb): all of it is shown")
        return ()
    return (Cut(Box(tuple(middle.tolist()), tuple(size.tolist()), tuple(quat_from_matrix(turn.T).tolist()))),)


def _trained(content: File, report: Report) -> tuple[tuple[Level, ...], Network, Network]:
    """Levels, density and colour network: density network, colour network and grid lie behind each other in one array."""
    grid, extra, flat = content.encoding, _extra(content), _numbers(content.snapshot)
    count, growth = _growth(grid, _edge(content.snapshot))
    features, shape, colours = count * grid.n_features_per_level, content.network, content.rgb_network
    outputs = tcnn.padded(shape.n_output_dims)
    seen = outputs + HARMONICS + extra
    ends = np.cumsum([_size(features, shape, outputs), _size(seen, colours, 3)])
    # Inputs that fill up: a grid's are zeros, and those behind the direction are ones.
    density = tcnn.network(flat[: ends[0]], features, shape.n_neurons, shape.n_hidden_layers, outputs, filled=0)
    colour = tcnn.network(flat[ends[0] : ends[1]], seen, colours.n_neurons, colours.n_hidden_layers, 3)
    if extra:
        report.note(f"the field was trained with {extra} numbers for the looks of each photo: shown with zeros for them")
        colour = Network((colour.weights[0][:, : outputs + HARMONICS], *colour.weights[1:]), colour.biases)
    levels = tcnn.levels(flat[ends[1] :], count, grid.n_features_per_level, grid.log2_hashmap_size, grid.coarsest, growth)
    return levels, density, colour


def _numbers(snapshot: Snapshot) -> Floats:
    """All parameters [P]."""
    kind = {"__half": np.float16, "float": np.float32}.get(snapshot.params_type)
    if kind is None:
        raise ValueError(f"ingp: expected parameters of type '__half' or 'float', found {snapshot.params_type!r:.40}")
    size = snapshot.params_binary.nbytes
    if size % np.dtype(kind).itemsize or snapshot.n_params not in (None, size // np.dtype(kind).itemsize):
        raise ValueError(f"ingp: expected {snapshot.n_params} parameters of type {snapshot.params_type!r}, found {size:,} bytes")
    flat = np.frombuffer(snapshot.params_binary, kind).astype(np.float32)
    if not np.isfinite(flat).all():
        raise ValueError(f"ingp: expected finite parameters, found {np.count_nonzero(~np.isfinite(flat)):,} that are not")
    return flat


def _growth(grid: Encoding, edge: int) -> tuple[int, float]:
    """How many levels there are, and by how much each has more cells than the one before."""
    kind, hashed = grid.otype.lower(), grid.type.lower()
    if kind not in ("hashgrid", "grid") or hashed != "hash" or grid.hash.lower() not in ("coherentprime", ""):
        raise ValueError(f"ingp: expected positions in a HashGrid, found {grid.otype!r:.40} ({grid.type!r:.40}, {grid.hash!r:.40})")
    if grid.interpolation.lower() != "linear":
        raise ValueError(f"ingp: expected a grid with Linear interpolation, found {grid.interpolation!r:.40}")
    features = grid.n_features_per_level
    count = grid.n_features // features if grid.n_features and features > 0 else grid.n_levels
    if not (1 <= count <= MOST_LEVELS and features in (1, 2, 4, 8) and 1 <= grid.log2_hashmap_size <= 30):
        found = f"{count} of {features}, 2^{grid.log2_hashmap_size}"
        raise ValueError(f"ingp: expected 1 to {MOST_LEVELS} levels of 1, 2, 4 or 8 features and up to 2^30 entries, found {found}")
    growth = grid.per_level_scale
    if growth <= 0:
        growth = ngp.growth(count, max(grid.coarsest, 1), edge)
    if not (0.5 <= growth < np.inf and 1 <= grid.coarsest < 1 << 31 and log2(grid.coarsest) + log2(growth) * (count - 1) < 31):
        raise ValueError(f"ingp: expected levels of 1 to 2^31 cells, found {count} from {grid.coarsest} on, growing by {growth:g}")
    return count, growth


def _size(inputs: int, shape: Layers, outputs: int) -> int:
    """How many parameters a network has; ValueError if it is not of a kind that is read here."""
    if shape.otype.lower() not in _NETWORKS:
        raise ValueError(f"ingp: expected a FullyFusedMLP or a CutlassMLP, found {shape.otype!r:.40}")
    if (shape.activation.lower(), shape.output_activation.lower()) != ("relu", "none"):
        found = f"{shape.activation!r:.40} and {shape.output_activation!r:.40}"
        raise ValueError(f"ingp: expected networks with activation 'ReLU' and output_activation 'None', found {found}")
    if not (1 <= shape.n_neurons <= 1024 and 1 <= shape.n_hidden_layers <= 16 and 1 <= outputs <= 256):
        found = f"{shape.n_hidden_layers} of {shape.n_neurons}, {outputs} outputs"
        raise ValueError(f"ingp: expected networks of 1 to 16 layers of up to 1024 neurons, found {found}")
    return tcnn.size(inputs, shape.n_neurons, shape.n_hidden_layers, outputs)


def _extra(content: File) -> int:
    """How many numbers the colour network gets beside the others; ValueError if it sees directions otherwise than by harmonics."""
    seen = content.dir_encoding
    inner = seen.parts() if seen.otype.lower() == "composite" else [seen]
    first, rest = inner[0], [one.otype.lower() for one in inner[1:]]
    if first.otype.lower() != "sphericalharmonics" or first.degree != 4 or any(kind != "identity" for kind in rest):
        names = ", ".join(f"{one.otype!r:.40}" for one in inner)
        raise ValueError(f"ingp: expected directions in SphericalHarmonics of degree 4, found {names} ({first.degree})")
    extra = _photos(content.snapshot).n_extra_learnable_dims
    if not 0 <= extra <= 256:
        raise ValueError(f"ingp: expected n_extra_learnable_dims of 0 to 256, found {extra}")
    return extra


def _background(snapshot: Snapshot) -> tuple[float, float, float] | None:
    """None for black, which Instant-NGP has where nobody chose a colour."""
    red, green, blue = (min(1.0, max(0.0, _finite("background_color", value))) for value in snapshot.background_color[:3])
    return (red, green, blue) if red or green or blue else None


def _finite(name: str, value: float) -> float:
    if not np.isfinite(value):
        raise ValueError(f"ingp: expected a finite {name}, found {value}")
    return value


def _placement(snapshot: Snapshot, report: Report) -> Similarity:
    """World of the photos from Instant-NGP's frame."""
    photos = _photos(snapshot)
    if snapshot.nerf.dataset is None:
        report.note("the snapshot does not say where its photos stood: placed as Instant-NGP does by default")
    scale, middle = (0.66, 0.25 * 0.66) if photos.from_mitsuba else (ngp.SCALE, ngp.OFFSET[0])  # by default
    scale = scale if photos.scale is None else photos.scale
    offset = photos.offset or (middle, middle, middle)
    if not (np.isfinite(scale) and scale > 1e-9 and np.isfinite(offset).all()):
        raise ValueError(f"ingp: expected a finite scale > 0 and a finite offset, found {scale} and {list(offset)}")
    matrix = np.eye(4)
    matrix[:3, :3] = (np.eye(3) if photos.from_mitsuba else ngp.CYCLE) / scale
    matrix[:3, 3] = -np.asarray(offset) / scale
    return Similarity.from_matrix(matrix)
