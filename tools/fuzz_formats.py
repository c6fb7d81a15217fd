"""Damages good files at random and reads them: every decoder must load them or refuse them with a ValueError, in little time and memory.

    python tools/fuzz_formats.py                              100,000 files for each decoder
    python tools/fuzz_formats.py --count 2000 --only sog ply
    python tools/fuzz_formats.py --replay "Niantic spz:1234"  what happened there, with the file left in --keep FOLDER

A case is a decoder, the seed and a number: it is the same everywhere, as long as the seeds of `fuzz_seeds` and the data folder are.
The readers run in processes with a limit of memory; one that crashes or hangs is reported, and the next goes on behind that file.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import ctypes
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path
from random import Random

import fuzz_mutations
import fuzz_seeds

from splatview.formats import FORMATS, Format, MissingExtra
from splatview.formats.files import Source, open_file
from splatview.formats.report import Report
from splatview.hashgrid import HashGrid
from splatview.scene import Scene

MOST_TOLD = 20  # failures of a decoder that are kept
FORK = multiprocessing.get_context("fork")
Files = dict[str, bytes]
Array = ctypes.Array[ctypes.c_double]  # shared between processes


@dataclass(frozen=True)
class Decoder:
    name: str
    entry: Format
    seeds: Sequence[Files]


@dataclass
class Result:
    tried: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)  # case, what happened
    crashes: list[tuple[int, str]] = field(default_factory=list)


# What a process tells while it works: a shared array of doubles, by these places.
CASE, STARTED, REFUSED, LOADED, FAILED, SLOWEST, SLOWEST_CASE, PEAK, PEAK_CASE, FIELDS = range(10)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="files for each decoder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="decoders whose name has one of these texts")
    parser.add_argument("--megabytes", type=int, default=512, help="address space that a reader may take on top of its start")
    parser.add_argument("--seconds", type=float, default=20, help="that a file may take")
    parser.add_argument("--replay", help="DECODER:CASE")
    parser.add_argument("--keep", type=Path, help="folder for the file that is replayed")
    options = parser.parse_args()
    found = decoders()
    if options.replay:
        return replay(found, options.replay, options.seed, options.keep)
    chosen = [decoder for decoder in found if not options.only or any(text.lower() in decoder.name.lower() for text in options.only)]
    print(f"seed {options.seed}, {options.count:,} files each, {options.megabytes} MiB and {options.seconds:g} s at most")
    print("| decoder | tried | refused | loaded | other exceptions | crashes | slowest (ms) | peak memory (MiB) | minutes |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    bad = 0
    for decoder in chosen:
        bad += fuzz(decoder, options)
    return 1 if bad else 0


def decoders() -> list[Decoder]:
    """One for each reader of the registry, with the seeds of all formats that it reads."""
    with concurrent.futures.ProcessPoolExecutor(1, FORK) as pool:  # apart: PyTorch, which writes some of them, stays there
        seeds, found = pool.submit(fuzz_seeds.seeds).result(), []
    for entry in FORMATS:
        same = [other for other in FORMATS if other.read is entry.read]
        files = [files for other in same for files in seeds.get(other.suffix, [])]
        if same[0] is not entry:
            continue
        if not files:
            raise SystemExit(f"no good file for {entry.name} ({entry.suffix}): add one to fuzz_seeds")
        found.append(Decoder(entry.name, entry, files))
    return found


def case(decoder: Decoder, seed: int, number: int) -> tuple[Files, str, int | None]:
    """The damaged files of a case, which of them is damaged, and the level of detail that is asked for."""
    rng = Random(f"{seed} {decoder.name} {number}")
    files = rng.choice(decoder.seeds)
    names = list(files)
    name = names[0] if rng.random() < 0.5 else rng.choice(names)
    content = files[name]
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = fuzz_mutations.damaged(content, rng)
    return {**files, name: content}, name, rng.choice((None, None, None, 0, 1, -1, 99))


def read(decoder: Decoder, path: Path, level: int | None) -> bool:
    """Whether the file was loaded; False if it was refused with a reason. Whatever else happens is a failure."""
    try:
        with open_file(path) as data:
            found = decoder.entry.read(Source(path, data, level), Report())
            decoder.entry.levels(Source(path, data))
    except (ValueError, MissingExtra, FileNotFoundError) as error:
        if not str(error):
            raise AssertionError("a ValueError without a reason") from error
        return False
    parts = [layer.content for layer in found.layers.values()] if isinstance(found, Scene) else [found]
    if not parts or not all(part.parameters if isinstance(part, HashGrid) else len(part) for part in parts):
        raise AssertionError("loaded a scene without Gaussians or a field")
    return True


# --- the process that reads -----------------------------------------------------------------------------------


class Folder:
    """A folder in memory whose files become those of the case."""

    def __init__(self) -> None:
        memory = Path("/dev/shm")
        self.path = Path(tempfile.mkdtemp(prefix="splatview-fuzz-", dir=memory if memory.is_dir() else None))
        self._held: Files = {}

    def hold(self, files: Files) -> Path:
        """The path of the first of these files, which are the only ones there."""
        for name in self._held.keys() - files.keys():
            (self.path / name).unlink()
        for name, content in files.items():
            if self._held.get(name) != content:
                if "/" in name:
                    (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                (self.path / name).write_bytes(content)
        self._held = dict(files)
        return self.path / next(iter(files))

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


def work(decoder: Decoder, options: argparse.Namespace, start: int, state: Array, failures: Connection, folder: Folder) -> None:
    """Read the cases from `start` on; what happens goes into `state` and `failures`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries complain about damaged pictures there
    warnings.simplefilter("error")
    try:
        for files in decoder.seeds:
            if not read(decoder, folder.hold(files), None):
                raise ValueError(f"{next(iter(files))} is refused")
    except Exception as error:
        state[FAILED] += 1
        failures.send((start, f"a good file is not loaded: {_told(error)}"))
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (options.megabytes << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    highest = base
    for number in range(start, options.count):
        state[CASE] = number
        files, _, level = case(decoder, options.seed, number)
        path = folder.hold(files)
        state[STARTED] = begun = time.monotonic()
        try:
            state[LOADED if read(decoder, path, level) else REFUSED] += 1
        except BaseException as error:
            state[FAILED] += 1
            if state[FAILED] <= MOST_TOLD:
                failures.send((number, _told(error)))
        taken = time.monotonic() - begun
        state[STARTED] = 0
        if taken > state[SLOWEST]:
            state[SLOWEST], state[SLOWEST_CASE] = taken, number
        now = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if now > highest:
            highest = now
            if now - base > state[PEAK]:
                state[PEAK], state[PEAK_CASE] = now - base, number
    state[CASE] = options.count


def _told(error: BaseException) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"[:300]


# --- the process that watches ---------------------------------------------------------------------------------


def fuzz(decoder: Decoder, options: argparse.Namespace) -> int:
    """Try a decoder and print what happened; the number of failures and crashes."""
    state = FORK.RawArray("d", FIELDS)
    result, begun, start, folder = Result(), time.monotonic(), 0, Folder()
    try:
        while start < options.count:
            receiver, sender = FORK.Pipe(duplex=False)
            process = FORK.Process(target=work, args=(decoder, options, start, state, sender, folder))
            state[CASE], state[STARTED] = start, 0
            process.start()
            sender.close()
            reason = _watched(process, state, receiver, result, options.seconds)
            if reason is None:
                break
            result.crashes.append((int(state[CASE]), reason))
            start = int(state[CASE]) + 1
    finally:
        folder.remove()
    minutes = (time.monotonic() - begun) / 60
    tried = int(state[REFUSED] + state[LOADED] + state[FAILED]) + len(result.crashes)
    slowest = f"{state[SLOWEST] * 1000:.0f} (case {state[SLOWEST_CASE]:.0f})"
    peak = f"{state[PEAK] / 1024:.0f} (case {state[PEAK_CASE]:.0f})"
    counts = f"{tried:,} | {state[REFUSED]:,.0f} | {state[LOADED]:,.0f} | {state[FAILED]:,.0f} | {len(result.crashes)}"
    print(f"| {decoder.name} | {counts} | {slowest} | {peak} | {minutes:.1f} |", flush=True)
    for number, what in (*result.failures, *result.crashes):
        print(f"    {what}\n        --seed {options.seed} --replay '{decoder.name}:{number}'", flush=True)
    return int(state[FAILED]) + len(result.crashes)


def _watched(process: ForkProcess, state: Array, receiver: Connection, result: Result, seconds: float) -> str | None:
    """Wait for the end of a process; why it ended too early, or None."""
    while True:
        process.join(0.1)
        try:
            while receiver.poll():
                result.failures.append(receiver.recv())
        except EOFError:
            pass
        if process.exitcode is not None:
            return None if process.exitcode == 0 else f"crashed ({_signal(process.exitcode)})"
        if state[STARTED] and time.monotonic() - state[STARTED] > seconds:
            process.kill()
            process.join()
            return f"took more than {seconds:g} s"


def _signal(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def replay(found: Sequence[Decoder], which: str, seed: int, keep: Path | None) -> int:
    """Read one case again, here, and tell what happens."""
    name, _, number = which.rpartition(":")
    decoder = next((decoder for decoder in found if decoder.name == name), None)
    if decoder is None or not number.isdigit():
        raise SystemExit(f"expected DECODER:CASE with one of {', '.join(decoder.name for decoder in found)}")
    files, damaged, level = case(decoder, seed, int(number))
    folder = Folder()
    path = folder.hold(files)
    print(f"{path.name}, damaged: {damaged} ({len(files[damaged]):,} bytes), level {level}")
    if keep is not None:
        shutil.copytree(folder.path, keep, dirs_exist_ok=True)
    warnings.simplefilter("error")
    try:
        begun = time.monotonic()
        with open_file(path) as data:
            content = decoder.entry.read(Source(path, data, level), Report())
        print(f"loaded in {time.monotonic() - begun:.3f} s: {content!r:.300}")
    except Exception:
        traceback.print_exc()
    finally:
        folder.remove()
    return 0


if __name__ == "__main__":
    sys.exit(main())
