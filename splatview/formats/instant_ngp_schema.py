"""What of an Instant-NGP snapshot is read, by the names that are in the file. Everything else in it is skipped.

Decoding checks the types, and takes no more memory than the file: what is not in here is not unpacked, and arrays are views of the file.
"""

from __future__ import annotations

from msgspec import Raw, Struct, field, msgpack

MOST_NESTED = 1 << 12  # bytes of the encodings in an encoding


class Encoding(Struct):
    """Of positions."""

    otype: str = "HashGrid"
    type: str = "Hash"
    hash: str = ""
    n_levels: int = 16
    n_features: int = 0  # of all levels; 0: it is said by their number
    n_features_per_level: int = 2
    log2_hashmap_size: int = 19
    base_resolution: int = 0
    per_level_scale: float = 0.0  # 0: see `ngp.growth`
    interpolation: str = "Linear"

    @property
    def coarsest(self) -> int:
        """Corners along an axis of the first level."""
        return self.base_resolution or 1 << min(max(self.log2_hashmap_size, 0), 30) // 3


class Seen(Struct):
    """An encoding of directions, or several side by side."""

    otype: str
    degree: int = 4
    nested: Raw = Raw(b"\x90")

    def parts(self) -> list[Seen]:
        """The encodings in a composite one; ValueError (msgspec's) if there is none, or there are more than make sense."""
        if len(self.nested) > MOST_NESTED:
            raise ValueError(f"ingp: expected a few encodings in dir_encoding, found {len(self.nested):,} bytes")
        return msgpack.decode(self.nested, type=list[Seen]) or [Seen("nothing")]


class Layers(Struct):
    """A network."""

    otype: str = "MLP"
    activation: str = "ReLU"
    output_activation: str = "None"
    n_neurons: int = 128
    n_hidden_layers: int = 5
    n_output_dims: int = 16


Triple = tuple[float, float, float]


class Box(Struct):
    min: Triple
    max: Triple


Row = tuple[float, float, float, float]


class Shutter(Struct):
    """Where a photo was taken: its camera's pose when the shutter opened, and when it closed."""

    start: tuple[Row, Row, Row]
    end: tuple[Row, Row, Row]


class Taken(Struct):
    """Through what a photo was taken."""

    resolution: tuple[float, float]
    focal_length: tuple[float, float]
    principal_point: tuple[float, float] = (0.5, 0.5)


class Photos(Struct):
    """What is left of the photos: where they stood."""

    metadata: Raw = Raw(b"\x90")  # a `Taken` each
    xforms: Raw = Raw(b"\x90")  # a `Shutter` each

    from_mitsuba: bool = False
    scale: float | None = None
    offset: tuple[float, float, float] | None = None
    aabb_scale: int | None = None
    is_hdr: bool = False
    n_extra_learnable_dims: int = 0
    envmap_resolution: tuple[int, int] = (0, 0)


class Nerf(Struct):
    aabb_scale: int = 1
    dataset: Photos | None = None


class Snapshot(Struct):
    params_binary: memoryview
    nerf: Nerf = field(default_factory=Nerf)
    params_type: str = "__half"
    n_params: int | None = None
    density_grid_size: int = 128
    density_grid_binary: memoryview = memoryview(b"")
    aabb: Box | None = None
    render_aabb: Box | None = None
    render_aabb_to_local: tuple[Triple, Triple, Triple] | None = None
    exposure: float = 0.0
    background_color: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)


class Kind(Struct):
    """Of which kind the field is; the rest of another kind's file is other than here."""

    version: int = 0
    mode: str = "nerf"


class Head(Struct):
    snapshot: Kind


class File(Struct):
    encoding: Encoding
    network: Layers
    dir_encoding: Seen
    rgb_network: Layers
    snapshot: Snapshot
