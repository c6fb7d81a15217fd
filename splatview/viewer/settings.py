"""How the viewer is started: the flags of `splatview view`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from splatview.framing import UpAxis


@dataclass(frozen=True)
class ViewerSettings:
    """Where the viewer listens and how it draws."""

    port: int = 8080  # of the page; 0: any free one. A port that is taken is an error.
    host: str = "127.0.0.1"  # the address to listen on; beyond this machine the printed address carries a token
    up: UpAxis = "auto"  # the axis of the scene that points up
    backend: Literal["auto", "cpu", "cuda"] = "auto"  # what draws the frames
    draw: Literal["server", "browser", "hybrid"] = "server"  # where the frames are drawn
    budget_ms: float = 33.0  # milliseconds that a frame may take while the camera moves
    root: Path | None = None  # files named in the page stay below this folder
    open: bool = True  # open the page in the default browser

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port: expected 0 to 65535, got {self.port}")
        if not 1 <= self.budget_ms <= 1000:
            raise ValueError(f"budget_ms: expected 1 to 1000 milliseconds, got {self.budget_ms}")
        if self.draw != "server":
            raise ValueError(f"draw: this version draws on the server; expected 'server', got {self.draw!r}")
        if self.root is not None and not self.root.is_dir():
            raise ValueError(f"root: expected a folder, got {str(self.root)!r}")
