"""`splatview models`: the models of the diffusion stylizer on this machine."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import UseAppendAction, arg

from splatview.cli.faults import UserError, users_fault
from splatview.cli.waiting import waiting
from splatview.extras import MissingExtra
from splatview.stylize import hub
from splatview.stylize.catalogue import DEFAULT, KNOWN, with_companions
from splatview.stylize.weights import Contents, look_through


@dataclass(frozen=True)
class Command:
    """List the models that the diffusion stylizer can use: those that are on this machine, each checked, and those that can be fetched.

    A model is looked for in the folder that is named at the end of the list, and in the cache that the hub's own tools share. Only
    safetensors files are fetched and loaded.

    Example: splatview models --fetch sd-turbo
    """

    fetch: Annotated[UseAppendAction[tuple[str, ...]], arg(metavar="NAME")] = ()
    """Fetch this model: a name of the list, or a hub id (OWNER/NAME, or OWNER/NAME/FILE.safetensors for one file of many there).
    May be given several times. What it is used with comes, too."""
    folder: Annotated[Path | None, arg(metavar="DIR", help_behavior_hint="")] = None
    """Fetch into this folder, each model in one named by its id, to be carried to another machine. Default: the hub's cache here."""
    json: bool = False
    """Print JSON instead of text, for scripts."""

    def run(self) -> None:
        if self.folder is not None and not self.fetch:
            raise UserError("--folder says where --fetch puts a model: expected both")
        for name in dict.fromkeys(each for asked in self.fetch for each in with_companions(asked)):
            with waiting(f"fetching {name}") as progress, users_fault(ValueError, OSError, MissingExtra):
                folder = None if self.folder is None else self.folder / hub.repository(name)
                place = hub.fetch(name, folder, progress)
            if not self.json:
                print(f"{name}: fetched to {place}", flush=True)
        found = {name: found for name in hub.here() if (found := hub.find(name)) is not None}
        with waiting("checking"):
            contents = {name: look_through(place) for name, place in found.items()}
        if self.json:
            facts = {name: {"folder": str(found[name]), **asdict(content)} for name, content in contents.items()}
            print(
                json.dumps(
                    {"folder": str(hub.home()), "here": facts, "known": {name: asdict(known) for name, known in KNOWN.items()}}, indent=2
                )
            )
        else:
            print_models(found, contents)
        if why := hub.fault():
            raise UserError(why)
        if any(content.problems for content in contents.values()):
            raise UserError("a model is not whole: fetch it again, or take its folder away")


def print_models(found: dict[str, Path], contents: dict[str, Contents]) -> None:
    """Write the list for people."""
    print("on this machine:" if contents else "on this machine: none")
    for name, content in contents.items():
        print(f"  {name:<18} {content.kind or 'unknown':<11}{_size(content)}  {found[name]}")
        for problem in content.problems:
            print(f"    problem: {problem}")
    absent = [name for name in KNOWN if name not in found]
    if absent:
        print(f"\nto be had (splatview models --fetch {DEFAULT if DEFAULT in absent else absent[0]}):")
    for name in absent:
        known = KNOWN[name]
        print(f"  {name:<18} {known.kind:<11}{known.gigabytes:>6.2f} GB  {known.what} ({known.repo})")
    print(f"\nmodels brought by hand go to {hub.home()}/OWNER/NAME")


def _size(content: Contents) -> str:
    return f"{content.size / 1e9:>6.2f} GB  {content.numbers / 1e6:,.1f} M numbers, {'+'.join(content.types) or 'none'}"
