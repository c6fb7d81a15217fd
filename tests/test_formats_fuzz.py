"""The fuzzer in short form: a hundred damaged files for each decoder, and that it notices what it is for."""

import argparse
import os
import signal
import time

import fuzz_formats
import fuzz_seeds
import pytest

from splatview.formats import Format
from splatview.gaussians import Gaussians

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")  # nothing of ours waits on a lock there
OPTIONS = argparse.Namespace(count=100, seed=7, megabytes=256, seconds=20)


@pytest.fixture(scope="module")
def decoders():
    return {decoder.name: decoder for decoder in fuzz_formats.decoders()}


def test_damaged_files_of_every_format_are_loaded_or_refused(decoders, capsys):
    assert len(decoders) >= 11
    bad = {name: fuzz_formats.fuzz(decoder, OPTIONS) for name, decoder in decoders.items()}
    assert not any(bad.values()), capsys.readouterr().out


def test_a_case_is_the_same_each_time(decoders):
    for decoder in decoders.values():
        cases = [fuzz_formats.case(decoder, 3, number) for number in range(60)]
        assert [fuzz_formats.case(decoder, 3, number) for number in range(60)] == cases
        assert sum(files not in decoder.seeds for files, _, _ in cases) > 45  # and nearly all of them are damaged


def planted(fault):
    """A decoder with a fault that only damaged files bring to light."""
    good = b"good" * 20

    def read(source, report):
        content = bytes(source.data)
        if content == good:
            return Gaussians(*fuzz_seeds.scene().take([0]).__dict__.values())
        if sum(content) % 16 == 0:
            fault()
        raise ValueError("damaged")

    return fuzz_formats.Decoder("planted", Format("planted", ".planted", lambda head: False, read), [{"a.planted": good}])


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (lambda: {}["missing"], "KeyError"),
        (lambda: bytes(1 << 30), "MemoryError"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "crashed (SIGKILL)"),
        (lambda: time.sleep(60), "took more than 0.3 s"),
        (lambda: int("٣" * 5000), ""),
    ],
    ids=["exception", "memory", "crash", "hang", "none"],
)
def test_faults_are_noticed(fault, told, capsys):
    options = argparse.Namespace(count=40, seed=1, megabytes=256, seconds=0.3)
    bad = fuzz_formats.fuzz(planted(fault), options)
    printed = capsys.readouterr().out
    assert "| planted | 40 |" in printed  # it goes on behind a crash
    assert bool(bad) == bool(told) and told in printed


def test_seeds_that_are_refused_are_noticed(capsys):
    decoder = planted(lambda: None)
    assert fuzz_formats.fuzz(fuzz_formats.Decoder("planted", decoder.entry, [{"a.planted": b"bad"}]), OPTIONS)
    assert "a good file is not loaded" in capsys.readouterr().out
