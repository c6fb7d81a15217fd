"""How commands that run for long end: by a signal, tidily, whatever they are in the middle of."""

import os
import signal
import subprocess
import sys

import pytest

from splatview.cli.ending import held_back


def test_bench_that_is_told_to_end_ends_as_it_does_by_ctrl_c():
    """While it flies: what it prints comes after that."""
    code = "import os, signal, sys; from splatview.cli import bench, main; fly = bench.Motion.between\n"
    code += "bench.Motion.between = lambda *frames: os.kill(os.getpid(), signal.{}) or fly(*frames)\n"
    code += "sys.exit(main(['bench', '--stylize', '--frames', '2', '--size', '64x64']))"
    for name, expected in (("SIGINT", 130), ("SIGTERM", 143)):
        ended = subprocess.run([sys.executable, "-c", code.format(name)], capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stdout, ended.stderr) == (expected, "", "")


@pytest.mark.parametrize(("number", "kind"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_what_is_held_back_is_raised_behind_the_block(number, kind):
    reached, before = [], signal.getsignal(number)
    with pytest.raises(kind), held_back():
        os.kill(os.getpid(), number)
        reached.append(True)
    assert reached and signal.getsignal(number) is before
