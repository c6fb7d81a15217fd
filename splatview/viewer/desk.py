"""Where the document of a viewer lives: its file, its journal, and what a server that ended before could not save."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import time
from pathlib import Path

from splatview.edit import archive
from splatview.edit.codec import encode
from splatview.edit.document import Change, Document, Source
from splatview.edit.embedding import embedded, parts_of
from splatview.edit.journal import Journal, Locked
from splatview.edit.operations import AddLayers
from splatview.edit.sources import Changed, opened
from splatview.formats import inria, load
from splatview.formats.report import Progress, Report
from splatview.scene import Scene
from splatview.viewer.remembered import state_folder

COPIES = 20  # untitled documents of the same files that may be open at once
READ = 4  # files that are kept at hand once they were read


class Desk:
    """One document's place. `key` names what was opened; without one nothing is journalled. Locked: a titled document is open elsewhere."""

    def __init__(self, scene: Scene, key: str | None = None, document: Document | None = None, path: Path | None = None) -> None:
        self.path = path = None if path is None else path.resolve()  # of the document's file; None: it has no name yet
        self.saved = None if document is None else state_of(document)  # the document as it was saved last
        self.journal = None if key is None else _journal(key if path is None else str(path), titled=path is not None)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._files: dict[tuple[str, int | None], Scene] = {}
        self._lock = threading.Lock()
        self.document = document if document is not None else Document(sources=sources_of(scene))
        left = None if self.journal is None else self.journal.document
        offered = left is not None and left.entries and not (document is not None and same_work(left, document))
        self.recovered = left if offered else None  # waits for an answer
        self._at: tuple[int, int] | None = None  # the document that the journal tells of; None: not this one

    @property
    def uploads(self) -> Path:
        """The folder where files that were sent are kept, as long as the document needs them."""
        if self.journal is not None:
            folder = self.journal.path.with_suffix(".files")
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="splatview-")
        return Path(self._temporary.name)

    def load(self, path: str, level: int | None = None) -> Scene:
        """The scene of a file, its layers with their source; those that were read last are at hand."""
        with self._lock:
            found = self._files.pop((path, level), None)
        if found is None:
            found = read(path, level)
        self.remember(path, level, found)
        return found

    def remember(self, path: str, level: int | None, scene: Scene) -> None:
        """Keep a scene at hand that was read from a file."""
        with self._lock:
            self._files[path, level] = scene
            while len(self._files) > READ:
                del self._files[next(iter(self._files))]

    def left_at(self) -> str:
        """When the last operation of what can be recovered was done, for people."""
        at = max((entry.at for entry in self.recovered.entries), default=0.0) if self.recovered else 0.0
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))

    def record(self, change: Change, document: Document) -> None:
        """Bring a change of `document` to the disk. What an earlier server left is put aside first; it can still be recovered."""
        if self.journal is None:
            return
        try:
            if self._at != state_of(document):
                self._begin(document)
            self.journal.record(change)
        except OSError as error:
            where = self.journal.path.parent
            raise OSError(f"Nothing has changed, as it could not be kept in {where}: {error.strerror or error}") from error
        self._at = state_of(document.after(change))

    def recover(self) -> tuple[Scene, Document]:
        """The scene and the document that an earlier server left. ValueError if a source is missing."""
        if self.recovered is None:
            raise ValueError("there is nothing to recover")
        document, scene = opened(self.recovered, self.load, changed="rerun")
        return scene, document

    def taken(self, document: Document) -> None:
        """What was recovered is the document from now on; the present one is put aside."""
        if self.journal is not None:
            self._begin(document, over=self._at is None)
        self.recovered = None

    def _begin(self, document: Document, over: bool = False) -> None:
        """Let the journal be of `document`; what is in it is put aside, unless that is what `document` was made of."""
        assert self.journal is not None
        left = self.journal.document
        if not over and (self._at is not None or left is None or left.entries):
            self.journal.set_aside()
        self._at = None
        self.journal.begin(document)
        self._at = state_of(document)

    def dismiss(self) -> None:
        """Do not offer any more what was left; it stays on the disk, under another name."""
        if self.journal is not None and self._at is None:
            self.journal.set_aside()
        self.recovered = None

    def save(self, path: Path, document: Document, everything: bool = False, progress: Progress | None = None) -> None:
        """Write `document` to `path`. The journal is that of the file from then on; Locked: another splatview edits that file.

        `everything`: its sources are within the file; otherwise only those that were sent by a page, or were within one.
        """
        path = path.resolve()
        journal = _journal(str(path), titled=True) if path != self.path and self.journal is not None else self.journal
        try:
            document_there, entries = embedded(
                document, self.load, lambda content: inria.encode(content, Report(progress)), lambda path: everything or self._ours(path)
            )
            archive.write(path, document_there, entries)
        except BaseException:
            if journal is not None and journal is not self.journal:
                journal.close()
            raise
        if journal is not None:
            if self.journal is not None and journal is not self.journal:
                self.journal.forget()
                self.journal.close()
            journal.begin(document)
            self.journal, self._at = journal, state_of(document)
        self.path, self.saved = path, state_of(document)

    def _ours(self, path: str) -> bool:
        """Whether a source lies where only we look for it."""
        folders = [journals_folder().resolve(), *([Path(self._temporary.name).resolve()] if self._temporary else [])]
        return any(Path(path).resolve().is_relative_to(folder) for folder in folders)

    def is_saved(self, document: Document) -> bool:
        """Whether `document` is what was saved last."""
        return self.saved == state_of(document)

    def close(self) -> None:
        """Let others open the document."""
        if self.journal is not None:
            self.journal.close()
        if self._temporary is not None:
            self._temporary.cleanup()


def read(path: str, level: int | None = None) -> Scene:
    """The scene of a file, or of what was embedded in a document; its layers with their source."""
    if not path.endswith(archive.FOLDER_SUFFIX):
        return load(path, level=level).read_from(path)
    scene = Scene()
    for part in parts_of(Path(path), level):
        scene = scene.joined(load(part))
    return scene.read_from(path)


def open_document(path: Path, changed: Changed = "refuse", folder: Path | None = None) -> tuple[Scene, Document]:
    """The scene that the document in a file begins with, and the document; what is embedded goes where its journal is.

    Sources that are not where they were are looked for in `folder`. ValueError: it is no document, or a source is missing, or `changed`
    is "refuse" and one holds something else than it did.
    """
    document = archive.read(path)
    files = _path(str(path.resolve())).with_suffix(".files")
    files.mkdir(parents=True, exist_ok=True)
    document, scene = opened(archive.extracted(path, document, files), read, changed, folder)
    return scene, document


def state_of(document: Document) -> tuple[int, int]:
    """Something that differs when the document does."""
    return hash(tuple((entry.id, entry.on, id(entry.operation)) for entry in document.entries)), document.cursor


def same_work(one: Document, other: Document) -> bool:
    """Whether two documents hold the same operations, wherever their files are."""

    if one.cursor != other.cursor or len(one.entries) != len(other.entries):
        return False
    for first, second in zip(one.entries, other.entries, strict=True):
        files = isinstance(first.operation, AddLayers) and isinstance(second.operation, AddLayers)
        if (first.id, first.on) != (second.id, second.on) or not (files or encode(first.operation) == encode(second.operation)):
            return False
    return True


def sources_of(scene: Scene) -> tuple[Source, ...]:
    """The files that the layers of `scene` were read from, in order."""
    names: dict[str, list[str]] = {}
    for name, layer in scene.layers.items():
        if layer.source is not None:
            names.setdefault(layer.source, []).append(name)
    return tuple(Source(path, names=tuple(of), placements=tuple(scene.layers[name].placement for name in of)) for path, of in names.items())


def _journal(key: str, *, titled: bool) -> Journal:
    """The journal of a document: a titled one has one, untitled ones of the same files have one each. Locked: it is not to be had.

    Of several that nobody writes, it is one in which work was left.
    """
    if titled:
        return Journal(_path(key))
    free = None
    for copy in range(1, COPIES):
        if free is not None and not _path(key, copy).exists():
            continue
        try:
            journal = Journal(_path(key, copy))
        except Locked:
            continue
        if free is None or (journal.document is not None and journal.document.entries):
            free, journal = journal, free
        if journal is not None:
            journal.close()
        if free.document is not None and free.document.entries:
            return free
    return free or Journal(_path(key))


def _path(key: str, copy: int = 1) -> Path:
    name = hashlib.sha256(key.encode()).hexdigest()[:24]
    return journals_folder() / (f"{name}.journal" if copy == 1 else f"{name}-{copy}.journal")


def journals_folder() -> Path:
    """Where journals lie, and the files that belong to their documents."""
    return state_folder().parent / "journals"
