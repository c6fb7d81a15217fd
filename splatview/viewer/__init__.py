"""The browser: a page that shows frames drawn by the server, with a panel beside them."""

from splatview.viewer.app import Viewer, serve
from splatview.viewer.settings import ViewerSettings

__all__ = ["Viewer", "ViewerSettings", "serve"]
