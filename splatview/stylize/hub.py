"""Where models lie on this machine, and fetching them from the hub. The one file that knows `huggingface_hub`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from splatview.extras import need
from splatview.stylize.catalogue import KNOWN, Kind, name_of, repo_of
from splatview.stylize.weights import LORA, MAYBE, NEEDED, are_halves, are_weights, kind_of

Progress = Callable[[float, str], None]

TEXTS = (".json", ".txt")  # files beside weights that are wanted
REPO = re.compile(r"(\w[\w.-]*/\w[\w.-]*)(?:/((?:\w[\w.-]*/)*\w[\w.-]*\.safetensors))?")  # OWNER/NAME, and a file in it
UNFINISHED = ".ckpt"  # ends the name of the folder of a training that is not over, beside the model that it makes
KEPT = re.compile(r"state\.json|\d+\.safetensors|\..+\.part")  # the names in it


class NotHere(FileNotFoundError):
    """A model is not on this machine; the message says how it is fetched, and where it is put by hand."""


def home() -> Path:
    """The folder where people put models, one in a folder named by its hub id: $SPLATVIEW_MODELS, else in the XDG data folder."""
    if os.environ.get("SPLATVIEW_MODELS"):
        return Path(os.environ["SPLATVIEW_MODELS"]).expanduser()
    given = os.environ.get("XDG_DATA_HOME", "")
    return (Path(given) if given.startswith("/") else Path.home() / ".local" / "share") / "splatview" / "models"


def find(name: str) -> Path | None:
    """The folder or file of the model that `name` means: a path, a name of the catalogue or a hub id. None: not here."""
    if not name:
        return None
    if name not in KNOWN and (path := _there(name)) is not None:
        return path
    known = REPO.fullmatch(repo_of(name))
    if not known:
        return None
    if (path := _there(str(home() / known[0]))) is not None:
        return path
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError:  # then nothing of it can be in its cache either
        return None
    try:
        place = Path(snapshot_download(known[1], local_files_only=True)) / (known[2] or "")
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return place if place.exists() else None


def _there(name: str) -> Path | None:
    """The path `name`, perhaps in somebody's home; None: nothing is there, or nothing that may be seen."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, RuntimeError):  # it is too long, or kept from us; nobody has such a home
        return None


def fault() -> str:
    """Why `home` cannot be read; "" if it can, or is not there."""
    try:
        with os.scandir(home()):
            return ""
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"the folder of models cannot be read: {home()}: {error.strerror}"


def located(name: str) -> Path:
    """Like `find`; NotHere if it is not."""
    found = find(name)
    if found is None and (why := fault()):
        raise NotHere(f"no model {name!r:.60} is to be seen: {why}")
    if found is None:
        known = REPO.fullmatch(repo_of(name))
        if not known:
            raise NotHere(_no_such(name, "a hub id (owner/name) or a folder"))
        title = name_of(known[0])
        size = f" ({KNOWN[title].gigabytes:g} GB)" if title in KNOWN else ""
        raise NotHere(
            f"the model {name} is not on this machine: `splatview models --fetch {title}` fetches it{size}; without a network, "
            f"{_by_hand(known[1], known[2])} where there is one, and bring FOLDER here as {home() / known[1]}"
        )
    return found


def _by_hand(repo: str, file: str | None) -> str:
    return f"`hf download {repo}{f' {file}' if file else ''} --local-dir FOLDER`"


def repository(name: str) -> str:
    """The id OWNER/NAME of the repository that `name` is in; ValueError if it can be none."""
    known = REPO.fullmatch(repo_of(name))
    if not known:
        raise ValueError(_no_such(name, "or a hub id (owner/name)"))
    return known[1]


def _no_such(name: str, others: str) -> str:
    close = difflib.get_close_matches(name, KNOWN, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"there is no model {name!r:.100}: expected one of {', '.join(KNOWN)}, {others}{meant}"


def here() -> Iterator[str]:
    """The names of models that are on this machine: those of the catalogue, and what else lies in `home`, folders or files in them."""
    yield from (name for name in KNOWN if find(name))
    for folder in [] if fault() else sorted(home().glob("*/*")):
        repo = f"{folder.parent.name}/{folder.name}"
        if not folder.is_dir() or name_of(repo) != repo or folder.name.startswith(".") or folder.name.endswith(UNFINISHED):
            continue
        files = [] if kind_of(folder) else [f"{repo}/{file.name}" for file in sorted(folder.glob("*.safetensors"))]
        yield from (name for name in files or [repo] if name_of(name) == name)


def is_unfinished(folder: Path) -> bool:
    """Whether `folder` is that of a training that is not over, and nothing else."""
    return folder.is_dir() and all(KEPT.fullmatch(file.name) for file in folder.iterdir())


def pipelines() -> list[str]:
    """Of the models that are here those that draw pictures."""
    return [name for name in here() if (found := find(name)) is not None and kind_of(found) == "pipeline"]


def controlnets(model: str) -> tuple[str, ...]:
    """The ControlNets of the catalogue that are here and fit a model of it, one for each hint."""
    known = KNOWN.get(name_of(repo_of(model)))
    fitting = [name for name, net in KNOWN.items() if known is not None and net.kind == "controlnet" and net.base == known.base]
    return tuple(name for name in fitting if find(name))


def wanted(names: Mapping[str, int], kind: Kind) -> list[str]:
    """Of the files of a repository (`names`, with their sizes) those that splatview loads; ValueError if they are not all safetensors.

    Weights in half precision do where they are there. The large autoencoder of a pipeline is left out: a small one takes its place.
    """
    if kind == "lora":
        chosen = [name for name in names if name == LORA]
    elif kind == "pipeline":
        folders = [folder for folder in (*NEEDED, *MAYBE) if any(name.startswith(f"{folder}/") for name in names)]
        chosen = [name for folder in folders for name in _part(names, folder)]
        chosen += [name for name in ("model_index.json",) if name in names]
    else:
        chosen = _part(names, "")
    folders = {str(PurePosixPath(name).parent) for name in chosen if name.endswith(".safetensors")}
    if not folders or (kind == "pipeline" and not {"unet", "text_encoder"} <= folders):
        raise ValueError("it has no weights as safetensors files, and splatview loads no others")
    return chosen


def _part(names: Mapping[str, int], folder: str) -> list[str]:
    inside = [name for name in names if str(PurePosixPath(name).parent) == (folder or ".")]
    weights = [name for name in inside if are_weights(PurePosixPath(name).name)]
    halves = [name for name in weights if are_halves(name)]
    texts = [name for name in inside if name.endswith(TEXTS) and (".index." not in name or are_halves(name) == bool(halves))]
    return texts + (halves or weights)


def fetch(name: str, folder: Path | None = None, progress: Progress | None = None, endpoint: str | None = None) -> Path:
    """Fetch a model of the catalogue, or by its hub id, into the hub's cache on this machine, or into `folder`; where it is then.

    ValueError: it is no such model. OSError: it cannot be had. What was fetched before an interruption is not fetched again.
    """
    need("fetching models", "stylize", "huggingface_hub")
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HFValidationError, HTTPError  # pyright: ignore[reportPrivateImportUsage]

    repo, file = repository(name), repo_of(name)[len(repository(name)) + 1 :]
    known = KNOWN.get(name_of(repo))
    try:
        info = HfApi(endpoint=endpoint).model_info(repo, files_metadata=True)
        names = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        if file and file not in names:
            raise ValueError(f"there is no {file}")
        chosen = [file] if file else wanted(names, known.kind if known else _guessed(names))
        total, done, places = max(1, sum(names[each] for each in chosen)), 0, []
        for each in chosen:
            told = counted(lambda count, before=done: _tell(progress, before + count, total))
            places.append(hf_hub_download(repo, each, local_dir=folder, endpoint=endpoint, tqdm_class=told))
            done += names[each]
            _tell(progress, done, total)
    except HFValidationError:
        raise ValueError(_no_such(name, "or a hub id (owner/name)")) from None
    except ValueError as error:
        raise ValueError(f"{repo}: {error}") from None
    except (HTTPError, RuntimeError) as error:  # of the hub, of there being no network, or of the store of its large files
        raise OSError(
            f"{repo} cannot be fetched ({' '.join(str(error).split()):.300}); {_by_hand(repo, file)} on a machine with a network does, and "
            f"FOLDER is brought here as {home() / repo}"
        ) from error
    return (folder if folder is not None else Path(places[0]).parents[chosen[0].count("/")]) / file


def counted(tell: Callable[[int], None]) -> type[Any]:
    """A kind of bar for the hub's client that shows nothing: it tells how many bytes of a file are on the disk."""
    from huggingface_hub.utils import tqdm

    class Counted(tqdm):
        def __init__(self, *args, **kwargs) -> None:
            kwargs.pop("name", None)
            super().__init__(*args, **{**kwargs, "disable": True})
            self.count = int(kwargs.get("initial") or 0)  # of a file that was begun before

        def update(self, n: float | None = 1) -> None:
            self.count += int(n or 0)
            tell(self.count)

        def update_transfer(self, n: float) -> None:
            """Where this is, the client does not open a second bar of the same kind for the same bytes on their way."""

        def set_transfer_postfix_str(self, *args, **kwargs) -> None:
            """Goes with it."""

    return Counted


def _tell(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(min(1.0, done / total), f"{done / 1e9:.2f} of {total / 1e9:.2f} GB")


def _guessed(names: Mapping[str, int]) -> Kind:
    """The kind of a repository that the catalogue does not know."""
    if "model_index.json" in names:
        return "pipeline"
    if LORA in names:
        return "lora"
    if "config.json" in names:
        return "controlnet"  # or an autoencoder: the files are the same
    files = [name for name in names if name.endswith(".safetensors")]
    others = f"; one of its {len(files)} files alone is named so: OWNER/NAME/{files[0]}" if files else ""
    raise ValueError(f"expected a diffusers pipeline, an autoencoder, a ControlNet or a LoRA{others}")
