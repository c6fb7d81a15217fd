"""Where redrawn pictures go: picture files, a video, or a page in the browser."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import cv2
import numpy as np

from splatview.arrays import Bytes
from splatview.cli.faults import UserError, users_fault
from splatview.cli.inputs import Source, fitted
from splatview.cli.pictures import nth, numbered
from splatview.cli.redrawing import Styled
from splatview.cli.sizes import Size
from splatview.outputs.beside import beside
from splatview.outputs.containers import CONTAINERS, Picture
from splatview.outputs.http import Window
from splatview.outputs.images import SUFFIXES, write_image


class Target(Protocol):
    """A place for pictures."""

    every: bool  # each picture counts
    title: str  # of what it does, as a stage

    def put(self, styled: Styled) -> Styled:
        """Take a picture."""
        ...


class Files(Target, Protocol):
    """Files: inside of a `with`, at whose end they are finished."""

    cut: bool  # the source is not read to its end

    @property
    def told(self) -> str:
        """For people: what is there now."""
        ...

    def __enter__(self) -> Files: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


class Pictures:
    """Picture files, one for each shot. Each is there as soon as it is complete, also if what follows is not."""

    every, title = True, "write"

    def __init__(self, path: Path, source: Source) -> None:
        self._path = path
        self._folder = path if is_folder(path) else None
        self._single = source.count == 1
        self._count = 0
        self.cut = False
        self._last = self._first = path
        self._size = (0, 0)
        names = [self._named(file.name, place) for place, file in enumerate(source.files or (path,))]  # told here: a pattern of no sense
        if {name.resolve() for name in names} & {file.resolve() for file in source.files}:
            raise UserError(f"{path}: expected another place than that of the pictures, which would be written over")
        if self._folder is not None:
            if twice := sorted({str(one) for one in names if names.count(one) > 1}):
                raise UserError(f"{twice[0]}: several of the pictures would be written there; name them in several commands")
            self._folder.mkdir(parents=True, exist_ok=True)

    def put(self, styled: Styled) -> Styled:
        path = self._named(styled.shot.name, self._count)
        picture, alpha = styled.picture, styled.shot.alpha
        if alpha is not None and path.suffix.lower() in (".png", ".webp"):
            picture = np.dstack([picture, alpha])
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with beside(path) as part:
                write_image(part, picture)
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        self._first, self._last = self._first if self._count else path, path
        self._count, self._size = self._count + 1, picture.shape[1::-1]
        return styled

    @property
    def told(self) -> str:
        names = str(self._last) if self._count == 1 else f"{self._first} .. {self._last}"
        return f"{names}: {self._size[0]} x {self._size[1]}, {self._count} picture{'s' * (self._count != 1)}"

    def _named(self, name: str, place: int) -> Path:
        if self._folder is None:
            return numbered(self._path, 1)[0] if self._single else nth(self._path, place)
        known = Path(name).suffix.lower() in SUFFIXES
        return self._folder / (name if known else f"{Path(name).stem}.png")

    def __enter__(self) -> Pictures:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass


class Video:
    """A video file, with the sound and the subtitles of the source if it has any. It is there when it is finished, and not before."""

    every, title = True, "write"

    def __init__(self, path: Path, source: Source) -> None:
        from splatview.outputs import video  # here: PyAV may be missing

        self._module = video
        self._path, self._source = path, source
        self._using, self._closed = threading.Lock(), False
        self._opened = ExitStack()
        self._writer: Any = None
        self._last = Fraction(0)
        self.cut = False  # if so, neither are its sound and its subtitles

    def put(self, styled: Styled) -> Styled:
        with self._using:
            if not self._closed:
                self._put(styled)
        return styled

    def _put(self, styled: Styled) -> None:
        height, width = styled.picture.shape[:2]
        if self._writer is None:
            form = replace(self._source.form, width=width, height=height)
            with users_fault(ValueError):
                self._writer = self._opened.enter_context(self._module.VideoWriter(self._path, form, self._source.along))
            self._size = width, height
        elif styled.shot.time <= self._last:  # of what is live, another picture of the same moment
            return
        self._writer.write(Picture(_within(styled.picture, Size(*self._size)), styled.shot.time))
        self._last = styled.shot.time

    @property
    def told(self) -> str:
        notes = "".join(f"\nnote: {note}" for note in self._writer.notes)
        seconds = float(self._last + 1 / self._source.form.rate)
        size = f"{self._path.stat().st_size / 1e6:,.1f} MB"
        count = f"{self._writer.count} frame{'s' * (self._writer.count != 1)}"
        return f"{self._path}: {self._size[0]} x {self._size[1]}, {count}, {seconds:.1f} s, {size}{notes}"

    def __enter__(self) -> Video:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._using:  # whoever is writing still is let end
            self._closed = True
            if self._writer is not None and self.cut:
                self._writer.along_until = self._last + 1 / self._source.form.rate
            self._opened.__exit__(kind, error, trace)


def _within(picture: Bytes, size: Size) -> Bytes:
    """`picture` at that size, in its own shape: what it does not fill is black."""
    image = fitted(picture, size)
    down, across = size.height - image.shape[0], size.width - image.shape[1]
    if not down and not across:
        return image
    edges = down // 2, down - down // 2, across // 2, across - across // 2
    return np.asarray(cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT), np.uint8)


class Browser:
    """A page that shows the newest picture."""

    every, title = False, "show"

    def __init__(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.window = Window(listener, tls=tls)

    def put(self, styled: Styled) -> Styled:
        original = styled.shot.frame.rgb8
        if original.shape != styled.picture.shape:
            original = np.asarray(cv2.resize(original, styled.picture.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
        self.window.show(styled.picture, original)
        return styled

    def __enter__(self) -> Browser:
        self.window.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.window.close()


def target_of(path: Path, source: Source) -> Files:
    """What the name of a file or folder asks for (see `check_name`); UserError if that cannot be."""
    if any(path.exists() and path.samefile(file) for file in source.files if file.exists()):
        raise UserError(f"{path}: expected another place than what is redrawn, which would be written over")
    return Pictures(path, source) if is_folder(path) or path.suffix.lower() in SUFFIXES else Video(path, source)


def check_name(path: Path) -> None:
    """UserError if it is not that of something that can be written."""
    suffix = path.suffix.lower()
    if not is_folder(path) and suffix not in (*SUFFIXES, *CONTAINERS):
        kinds = ", ".join((*SUFFIXES, *CONTAINERS))
        raise UserError(f"--output: expected a folder, `browser` or a name that ends in {kinds}; got {path}")
    if not suffix and path.exists() and not path.is_dir():
        raise UserError(f"--output: expected a folder, and {path} is none; names of files end in {', '.join((*SUFFIXES, *CONTAINERS))}")
    if suffix in CONTAINERS and not path.is_dir() and not path.absolute().parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.absolute().parent}")


def is_folder(path: Path) -> bool:
    return path.is_dir() or not path.suffix
