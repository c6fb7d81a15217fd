"""`splatview stylize`: whatever moves or stands still, redrawn in a style."""

from __future__ import annotations

import socket
import ssl
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

from tyro.conf import OmitArgPrefixes, Positional, arg

from splatview.cli import inputs, kinds
from splatview.cli.cameras import CameraFlags
from splatview.cli.documents import DocumentFlags, tools_of
from splatview.cli.drawing import colour
from splatview.cli.ending import asked_to_end, ended_by_signals
from splatview.cli.faults import UserError, one_line, users_fault
from splatview.cli.flags import MAYBE_FILE, MAYBE_NUMBER, MaybeLevel
from splatview.cli.inputs import Source
from splatview.cli.loading import renderer
from splatview.cli.places import WhereFlags
from splatview.cli.streaming import Stream
from splatview.cli.targets import Browser, check_name, target_of
from splatview.cli.waiting import waiting
from splatview.edit.quality import orbit
from splatview.formats import UnknownFormat
from splatview.frame import RenderOptions
from splatview.framing import frame_scene
from splatview.outputs.containers import READ
from splatview.outputs.guard import announce, listen
from splatview.outputs.images import SUFFIXES
from splatview.outputs.tls import context
from splatview.render import Backend
from splatview.stylize import Stylizer
from splatview.stylize.similar import Similar

F = TypeVar("F")

BROWSER = "browser"
RATE = Fraction(30)  # frames a second, of what has none of its own
SLIDES = Fraction(1, 2)  # of pictures in the browser
HOW = f"""How to redraw: one of these, an .onnx file, or one of the viewer's saved styles ('winter', or 'ink (diffusion)'):
{kinds.overview()}"""
ROUND = 10  # seconds once around a scene
MOST_AROUND = 100_000  # frames of that: all of its cameras are made before
MOST = 10**9  # of what is there already
PORT = 8080


@dataclass(frozen=True)
class PageFlags:
    """The page in the browser."""

    port: int = PORT
    """Of the page; 0: any free one."""
    host: str = "127.0.0.1"
    """The address that the page listens on; beyond this machine the printed address carries a token."""
    tls_cert: Annotated[Path | None, MAYBE_FILE] = None
    """A PEM file: serve the page over https, together with --tls-key."""
    tls_key: Annotated[Path | None, MAYBE_FILE] = None
    """A PEM file, not locked by a passphrase."""
    open: bool = True
    """Whether the page is opened in the default browser."""

    def tls(self) -> ssl.SSLContext | None:
        """What https needs; None: http is served. UserError if the files are no use."""
        with users_fault(ValueError):
            return context(self.tls_cert, self.tls_key)


@dataclass(frozen=True)
class SceneFlags:
    """Of scenes."""

    level: MaybeLevel = None
    """Level of detail of streamed scenes, 0 the finest. Default: the finest with at most 20 million Gaussians."""
    background: str = "black"
    """A colour: a name, or #rrggbb."""
    backend: Backend = "auto"
    """What draws."""


@dataclass(frozen=True)
class Command(Generic[F]):
    """Redraw a scene, pictures, a video or a webcam in a style.

    INPUT is a scene (several are drawn together) or a document (.splatview) with --camera, pictures (a folder or a pattern, too), a video,
    or the number of a webcam. A scene without --camera is flown around once, or seen from the front where OUTPUT is one picture. Videos
    keep their times, their sound and their subtitles. Ctrl+C ends the recording of a webcam, which is a whole video then; of a file that is
    not finished, no video is left, and of pictures those that are done.

    Example: splatview stylize walk.mp4 -o painted.mp4 --style oil --length 12

    Example: splatview stylize garden.ply --camera path.json -o garden.mp4 --style watercolour

    Example: splatview stylize 0 --style toon
    """

    inputs: Annotated[Positional[tuple[str, ...]], arg(metavar="INPUT [INPUT ...]", help_behavior_hint="")]
    """Scene files, a document, pictures, a video, or the number of a webcam."""
    look: OmitArgPrefixes[F]
    """What can be turned of the style; `splatview stylize --style NAME --help` tells it of another one."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="OUTPUT", help_behavior_hint="")] = Path(BROWSER)
    """A video (.mp4, .mov, .mkv, .webm), a picture (.png, .jpg, .webp; several are numbered, as in out_%04d.png), or a folder of pictures.
    Default: browser, a page that shows the style and the original side by side until Ctrl+C."""
    style: Annotated[str, arg(metavar="NAME", help=HOW)] = next(iter(kinds.KINDS))
    fps: Annotated[float | None, MAYBE_NUMBER] = None
    """Frames a second, of scenes and pictures. Default: 30; of pictures in the browser one in two seconds."""
    frames: Annotated[int | None, MAYBE_NUMBER] = None
    """How many frames at most. Default: all; once around a scene 300."""
    live: bool = False
    """Take a file as if it came in just now: frames go by the clock, and those that come too soon for the style are dropped.
    In the browser it is always so, and over and over."""
    places: OmitArgPrefixes[WhereFlags] = field(default_factory=WhereFlags)
    page: OmitArgPrefixes[PageFlags] = field(default_factory=PageFlags)
    scene: OmitArgPrefixes[SceneFlags] = field(default_factory=SceneFlags)
    documents: OmitArgPrefixes[DocumentFlags] = field(default_factory=DocumentFlags)
    viewpoint: OmitArgPrefixes[CameraFlags] = field(default_factory=CameraFlags)

    def run(self) -> None:
        self._check()
        with ended_by_signals(), ExitStack() as opened:
            listener = None
            if self._in_browser:
                with users_fault(OSError):  # a busy port, an address that is not ours: told before anything is loaded
                    listener = opened.enter_context(listen(self.page.host, self.page.port))
            with users_fault(ValueError, OSError, ImportError):
                source, place = self._source()
            opened.callback(source.close)
            with waiting(f"opening {self.style}"):
                stylizer: Any = kinds.opened(self.style, self.look)
            if hasattr(stylizer, "close"):
                opened.callback(stylizer.close)
            style, similar = stylizer, Similar(seed=0).skips if self.places.skip_similar else None
            steady = self.places.steadies(source.scene is not None, source.count)
            stylizer = self.places.applied(stylizer, place, steady)
            if listener is not None:
                self._show(listener, source, stylizer, similar)
            else:
                self._write(source, stylizer, similar, lambda: kinds.about(style))

    def _show(self, listener: socket.socket, source: Source, stylizer: Stylizer, similar: Any) -> None:
        """In the browser, until somebody ends it."""
        target = Browser(listener, self.page.tls())
        stream = Stream(source, stylizer, target, live=True, forever=True, similar=similar)
        target.window.figures = lambda: stream.figures
        with target, closing(stream):
            stream.start()
            announce(target.window.url, self.page.open)
            try:
                told = False
                while stream.failed is None:
                    time.sleep(0.1)
                    if stream.broken is not None and not told:
                        print(f"splatview: {one_line(stream.broken)}; the page stays until Ctrl+C", file=sys.stderr, flush=True)
                        told = True
                    if not stream.running:
                        stream.settle()
                raise stream.failed
            finally:
                print(stream.summary, flush=True)

    def _write(self, source: Source, stylizer: Stylizer, similar: Any, about: Callable[[], str]) -> None:
        """Into files, until the source ends; what is recorded from a camera, until somebody ends it."""
        live = source.live or self.live
        with users_fault(OSError, ImportError):
            target = target_of(self.output, source)
        with users_fault(OSError), ExitStack() as noting, waiting(f"redrawing {source.what}") as progress, target:
            asked = noting.enter_context(asked_to_end())
            stream = Stream(source, stylizer, target, live=live, similar=similar)
            with closing(stream):
                stream.start()
                while stream.running and not asked:
                    time.sleep(0.02)
                    progress(*stream.progress)
                given_up = lambda: bool(asked) and not source.live
                stream.finish(given_up)
                if given_up():
                    raise asked[0]
            target.cut = self.frames is not None or stream.broken is not None
            self._judge(stream)
            progress(1.0, "finishing")  # sound may be longer than what is seen
            if not source.live:
                noting.close()  # whoever ends a file while it is finished leaves none
                if given_up():
                    raise asked[0]
        print("\n".join(line for line in (target.told, about(), stream.summary) if line), flush=True)
        if asked:
            raise asked[0]
        if stream.broken is not None:
            with users_fault(ValueError, OSError):
                raise stream.broken

    def _judge(self, stream: Stream) -> None:
        """Raise what leaves nothing to be kept."""
        if stream.failed is not None:
            raise stream.failed
        if not stream.totals.shown:
            with users_fault(ValueError, OSError):
                raise stream.broken or UserError(f"{' '.join(self.inputs)}: nothing came of it")

    def _source(self) -> tuple[Source, Any]:
        """What is redrawn, and where."""
        words, size, most = self.inputs, self.viewpoint.size, self.frames
        paths = [Path(word) for word in words]
        pictures = inputs.pictures_among(words)
        if len(words) == 1 and words[0].isdecimal() and not paths[0].exists():
            self._check_unused(times=True)
            source = inputs.of_webcam(int(words[0]), size, most)
        elif pictures is not None:
            self._check_unused()
            source = inputs.of_pictures(pictures, self._rate(SLIDES if self._in_browser else RATE), size, most)
        elif any(map(inputs.is_video, paths)):
            if len(paths) > 1:
                raise UserError(f"expected one video and nothing else, got {' '.join(words)}")
            self._check_unused(times=True)
            source = inputs.of_video(paths[0], size, most)
        else:
            return self._scene(paths)
        return source, self.places.place(None)

    def _check_unused(self, times: bool = False) -> None:
        """UserError for flags that say nothing of what is no scene, and perhaps has `times` of its own."""
        view, scene, usual = self.viewpoint, self.scene, CameraFlags()
        given = {"--camera": view.camera is not None, "--level": scene.level is not None}
        given |= {"--fov": view.fov != usual.fov, "--up": view.up != usual.up, "--background": scene.background != SceneFlags().background}
        for flag, is_given in given.items():
            if is_given:
                raise UserError(f"{flag} is for scenes, and {' '.join(self.inputs):.100} is none")
        if times and self.fps is not None:
            raise UserError("--fps is for scenes and pictures: videos and webcams have their own times")

    def _scene(self, paths: Sequence[Path]) -> tuple[Source, Any]:
        try:
            state = self.documents.state(paths, self.scene.level, self.scene.backend)
        except UserError as error:
            if not isinstance(error.__cause__, UnknownFormat):
                raise
            others = f"a picture ({', '.join(inputs.PICTURES)}) or a video ({', '.join(READ)})"
            raise UserError(f"{error}, or {others}") from error.__cause__
        scene, place, rate = state.scene, self.places.place(state.scene), self._rate(RATE)
        outputs = tuple(dict.fromkeys(("rgb8", "alpha", "depth", *(place.needs if place else ()))))
        selected = self.places.selected(state, tools_of(self.scene.backend))
        options = RenderOptions(colour(self.scene.background), outputs=outputs, hidden=state.undrawn, tinted=selected, tint=None)
        cameras = self.viewpoint.cameras(scene)
        single = self.output.suffix.lower() in SUFFIXES and "%" not in self.output.name and self.frames is None
        if self.viewpoint.camera is None and not single:
            [view] = cameras
            count = self.frames or max(1, round(ROUND * rate))
            if count > MOST_AROUND:
                raise UserError(f"--frames: expected at most {MOST_AROUND:,} once around a scene, got {count:,}")
            with waiting("planning the flight"):
                cameras = orbit(frame_scene(scene, self.viewpoint.up), count, view.width, view.height, view.fov_y)
        source = inputs.of_scene(scene, cameras[: self.frames], renderer(self.scene.backend), options, rate, tuple(paths))
        return source, place

    def _rate(self, usual: Fraction) -> Fraction:
        return usual if self.fps is None else Fraction(self.fps).limit_denominator(1001)

    @property
    def _in_browser(self) -> bool:
        return str(self.output) == BROWSER

    def _check(self) -> None:
        """UserError for what makes no sense, before anything is opened."""
        if not self.inputs and self.places.where:
            raise UserError("expected what is redrawn before --where, which takes all words that follow it")
        if not self.inputs:
            raise UserError(
                "expected a scene, pictures, a video or the number of a webcam; for example: splatview stylize in.mp4 -o out.mp4"
            )
        if not self._in_browser:
            check_name(self.output)
        if self.fps is not None and not 0.01 <= self.fps <= 1000:
            raise UserError(f"--fps: expected 0.01 to 1000, got {self.fps:g}")
        if self.frames is not None and not 1 <= self.frames <= MOST:
            raise UserError(f"--frames: expected 1 to {MOST:,}, got {self.frames}")
        if "" in self.inputs:
            raise UserError("expected a scene, pictures, a video or the number of a webcam, got an empty name")
        if not 0 <= self.page.port <= 65535:
            raise UserError(f"--port: expected 0 to 65535, got {self.page.port}")
        self.page.tls()
        self.places.check()


def command(arguments: Sequence[str]) -> Any:
    """The command with the flags of the style that the arguments name."""
    return Command[kinds.flags_of(kinds.chosen(arguments), arguments)]  # pyright: ignore[reportInvalidTypeArguments]


def hint(flag: str) -> str:
    """Which styles have a flag that the one that was named has not."""
    names = kinds.with_flag(flag)
    return f"it belongs to --style {' or '.join(names)}" if names else ""
