"""What is kept of a scene between two runs: the panel's settings, bookmarks, and how its layers stand.

One small JSON file a scene, in `$XDG_STATE_HOME/splatview/scenes` (`~/.local/state/...`), named by a hash of the files that were
opened. Two viewers of one scene write whole files in turn: the last one wins. A file that is not ours is not read, and said so.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from splatview.camera import Camera
from splatview.geometry import Similarity, quat_from_matrix
from splatview.scene import Layer, Scene

log = logging.getLogger(__name__)

VERSION = 1
LARGEST = 1 << 20  # bytes of a file
MOST, LONGEST, FILES = 500, 200, 100  # bookmarks; characters of a name; files whose layers are known
DELAY = 1.0  # seconds between a change and the file


@dataclass(frozen=True)
class Bookmark:
    """A named view, in the world."""

    name: str
    position: tuple[float, float, float]
    quat: tuple[float, float, float, float]  # world from camera, wxyz
    look_at: tuple[float, float, float]  # what it turns about
    fov_y: float  # radians

    @staticmethod
    def of(name: str, camera: Camera, look_at: tuple[float, float, float]) -> Bookmark:
        quat = quat_from_matrix(camera.camera_from_world[:3, :3].T)
        return Bookmark(name, tuple(camera.position.tolist()), tuple(quat.tolist()), look_at, camera.fov_y)

    def camera(self, width: int, height: int) -> Camera:
        rotation = Similarity(self.quat).rotation.T
        return Camera.from_pose(rotation, -rotation @ np.asarray(self.position), self.fov_y, width, height)


@dataclass(frozen=True)
class Standing:
    """How the layer of a file stands."""

    name: str
    placement: Similarity


@dataclass(frozen=True)
class Memory:
    """Everything that is kept."""

    settings: Mapping[str, Any] = field(default_factory=dict)  # of widgets, by label
    bookmarks: tuple[Bookmark, ...] = ()
    layers: Mapping[str, Standing] = field(default_factory=dict)  # by the file it was read from


def state_folder() -> Path:
    """Where programs of this user keep such things; a relative $XDG_STATE_HOME is no answer, says its specification."""
    given = os.environ.get("XDG_STATE_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "state") / "splatview" / "scenes"


class Remembered:
    """The memory of the scene `key`; without one only the saved views are kept, as long as the viewer runs. Any thread may change it."""

    def __init__(self, key: str | None = None, changed: Callable[[], None] = lambda: None) -> None:
        self._path = None if key is None else state_folder() / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"
        self._changed = changed
        self._lock, self._writing = threading.Lock(), threading.Lock()
        self._timer: threading.Timer | None = None
        self._memory = Memory()
        if self._path is not None:
            try:
                self._memory = _read(self._path)
            except FileNotFoundError:
                pass
            except (ValueError, OSError) as error:
                log.warning("%s: what was remembered of this scene is not read: %s", self._path, error)

    @property
    def memory(self) -> Memory:
        return self._memory

    def set(self, label: str, value: Any) -> None:
        """Keep a widget's value; without a key it is its page's own."""
        if self._path is not None:
            self._change(lambda memory: replace(memory, settings={**memory.settings, label: value}))

    def set_bookmarks(self, bookmarks: tuple[Bookmark, ...]) -> None:
        """Keep these; ValueError if they are too many."""
        if len(bookmarks) > MOST:
            raise ValueError(f"expected at most {MOST} bookmarks: remove some")
        if bookmarks != self._memory.bookmarks:
            self._change(lambda memory: replace(memory, bookmarks=bookmarks))
            self._changed()

    def note(self, scene: Scene) -> None:
        """Keep how the layers of `scene` stand, of files that gave one layer."""
        now = {source: Standing(name, layer.placement) for source, (name, layer) in _of_files(scene).items()}
        if any(self._memory.layers.get(source) != standing for source, standing in now.items()):
            self._change(lambda memory: replace(memory, layers=dict([*memory.layers.items(), *now.items()][-FILES:])))

    def restored(self, scene: Scene) -> Scene:
        """`scene` with its layers named and placed as they were."""
        for source, (name, _) in _of_files(scene).items():
            standing = self._memory.layers.get(source)
            if standing is not None:
                scene = renamed(scene.placed(name, standing.placement), name, standing.name)
        return scene

    def close(self) -> None:
        """Write what has not been written."""
        with self._lock:
            waiting, self._timer = self._timer, None
        if waiting is not None:
            waiting.cancel()
            self._write()

    def _change(self, what: Callable[[Memory], Memory]) -> None:
        with self._lock:
            self._memory = what(self._memory)
            if self._path is not None and self._timer is None:
                self._timer = threading.Timer(DELAY, self._write_later)
                self._timer.daemon = True
                self._timer.start()

    def _write_later(self) -> None:
        with self._lock:
            self._timer = None
        self._write()

    def _write(self) -> None:
        assert self._path is not None
        try:
            with self._writing:
                _save(self._path, self._memory)
        except (OSError, ValueError) as error:  # a home that is not writable is no reason to stop looking
            log.warning("%s: the scene's settings are not remembered: %s", self._path, error)


def renamed(scene: Scene, old: str, new: str) -> Scene:
    """`scene` with a layer called `new`, or what of it is free, in its old place; unchanged if there is no `old` or `new` is blank."""
    others = {name: layer for name, layer in scene.layers.items() if name != old}
    if old not in scene.layers or not new.strip():
        return scene
    free = Scene.free_name(new.strip(), others)
    return Scene({free if name == old else name: layer for name, layer in scene.layers.items()})


def _of_files(scene: Scene) -> dict[str, tuple[str, Layer]]:
    """Names and layers by file, where a file gave one layer."""
    sources = [layer.source for layer in scene.layers.values()]
    return {layer.source: (name, layer) for name, layer in scene.layers.items() if layer.source and sources.count(layer.source) == 1}


def _save(path: Path, memory: Memory) -> None:
    """Put `memory` in the file's place at once; ValueError if it is too large."""
    content = {
        "splatview": VERSION,
        "settings": dict(memory.settings),
        "bookmarks": [asdict(bookmark) for bookmark in memory.bookmarks],
        "layers": {source: asdict(standing) for source, standing in memory.layers.items()},
    }
    data = json.dumps(content, allow_nan=False, indent=1).encode()
    if len(data) > LARGEST:
        raise ValueError(f"expected at most {LARGEST} bytes, got {len(data)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as file:
        file.write(data)
    try:
        Path(file.name).replace(path)
    except OSError:
        Path(file.name).unlink(missing_ok=True)
        raise


def _read(path: Path) -> Memory:
    """What a file holds; ValueError if it is not one of ours."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"expected at most {LARGEST} bytes")
    try:
        content = json.loads(data, parse_constant=_refuse)
        if content["splatview"] != VERSION:
            raise ValueError(f"expected version {VERSION}, found {content['splatview']!r}")
        return Memory(
            settings={str(label): value for label, value in content["settings"].items()},
            bookmarks=tuple(_bookmark(entry) for entry in content["bookmarks"][:MOST]),
            layers={str(source): _standing(entry) for source, entry in content["layers"].items()},
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"missing or bad entry: {type(error).__name__} {error}") from error


def _bookmark(entry: Any) -> Bookmark:
    position, quat, look_at = (_numbers(entry[key], count) for key, count in (("position", 3), ("quat", 4), ("look_at", 3)))
    fov_y = float(entry["fov_y"])
    if not 0.001 < fov_y < 3.14:
        raise ValueError(f"expected a field of view between 0.001 and 3.14 radians, got {fov_y}")
    bookmark = Bookmark(str(entry["name"])[:LONGEST], position, quat, look_at, fov_y)
    bookmark.camera(16, 16)  # ValueError if it is no camera
    return bookmark


def _standing(entry: Any) -> Standing:
    placement = entry["placement"]
    [scale] = _numbers([placement["scale"]], 1)
    return Standing(str(entry["name"])[:LONGEST], Similarity(_numbers(placement["quat"], 4), _numbers(placement["translation"], 3), scale))


def _numbers(values: Any, count: int) -> Any:
    """A tuple of `count` finite numbers, of a size that no product of them overflows."""
    numbers = tuple(float(value) for value in values)
    if len(numbers) != count or not all(abs(number) < 1e30 for number in numbers):
        raise ValueError(f"expected {count} finite numbers, got {len(numbers)}")
    return numbers


def _refuse(constant: str) -> Any:
    raise ValueError(f"expected finite numbers, found {constant}")
