"""How the viewer is started: the flags of `splatview view`."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from splatview.framing import UpAxis
from splatview.outputs.tls import context

Draw = Literal["server", "browser", "hybrid"]  # hybrid: the browser while the camera moves, the server at rest


@dataclass(frozen=True)
class ViewerSettings:
    """Where the viewer listens and how it draws."""

    port: int = 8080  # of the page; 0: any free one. A port that is taken is an error.
    host: str = "127.0.0.1"  # the address to listen on; beyond this machine the printed address carries a token
    up: UpAxis = "auto"  # the axis of the scene that points up
    backend: Literal["auto", "cpu", "cuda"] = "auto"  # what draws the frames
    draw: Draw = "server"  # where the frames are drawn; browser and hybrid need a graphics card there
    budget_ms: float = 33.0  # milliseconds that a frame may take while the camera moves
    root: Path | None = None  # what the page may name on the server lies below this folder; None: nothing
    upload_limit_mb: int = 2048  # the largest file that a page may send; 0: none may
    tls_cert: Path | None = None  # a PEM file: serve https, together with --tls-key
    tls_key: Path | None = None  # a PEM file, not locked by a passphrase
    open: bool = True  # whether the page is opened in the default browser

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: expected 0 to 65535, got {self.port}")
        if not 1 <= self.budget_ms <= 1000:
            raise ValueError(f"budget_ms: expected 1 to 1000 milliseconds, got {self.budget_ms}")
        if self.draw not in get_args(Draw):
            raise ValueError(f"draw: expected one of {get_args(Draw)}, got {self.draw!r}")
        if self.root is not None and not self.root.is_dir():
            raise ValueError(f"root: expected a folder, got {str(self.root)!r}")
        if self.upload_limit_mb < 0:
            raise ValueError(f"upload_limit_mb: expected 0 or more, got {self.upload_limit_mb}")
        self.tls()

    def tls(self) -> ssl.SSLContext | None:
        """What https needs; None: serve http. ValueError if the files are no use."""
        return context(self.tls_cert, self.tls_key)
