"""Filters: styles that need nothing but OpenCV. Each is a value with its controls, and `style` is a pure function of the frame."""

from splatview.stylize.filters.drawn import Ink, Pencil, Toon
from splatview.stylize.filters.painterly import Kuwahara, Oil, Watercolour
from splatview.stylize.filters.screens import Halftone, Pixel

FILTERS: dict[str, type] = {
    "kuwahara": Kuwahara,
    "oil": Oil,
    "watercolour": Watercolour,
    "toon": Toon,
    "pencil": Pencil,
    "ink": Ink,
    "halftone": Halftone,
    "pixel": Pixel,
}
