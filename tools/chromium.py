"""The browser of tests and benchmarks: Debian's Chromium on software GL."""

from pathlib import Path

CHROMIUM = Path("/usr/bin/chromium")
LAUNCHER = Path(__file__).with_suffix(".sh")  # what is to be started
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
    "--disable-background-networking",
]
