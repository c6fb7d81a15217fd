"""The plain values of a YAML file by their path, such as `pipeline.model.sh_degree`, with every tag ignored.

Enough for the settings that trainers write as block mappings; lists, flow collections and text of several lines are passed over.
"""

from __future__ import annotations

import re
from pathlib import Path

from splatview.formats.files import open_file

MOST_BYTES = 1 << 20
_ENTRY = re.compile(r"^( *)([A-Za-z_][\w-]*):(?: +(.*))?$")
_MARKS = re.compile(r"^(?:[!&]\S*\s*)+")  # tags and anchors before a value


def parse(text: str) -> dict[str, str]:
    """The scalars as texts, without quotes.

    >>> parse("a: !!python/object:x.Y\\n  b: 3\\n  c: 'off'\\nd: null\\n")
    {'a.b': '3', 'a.c': 'off', 'd': 'null'}
    """
    found, above = {}, []  # above: (indent, key) of the mappings that a line lies in
    for line in text.splitlines():
        entry = _ENTRY.match(line)
        if entry is None:
            continue
        indent, key, value = len(entry[1]), entry[2], _MARKS.sub("", entry[3] or "").strip()
        while above and above[-1][0] >= indent:
            above.pop()
        if value:
            found[".".join([*(name for _, name in above), key])] = value.strip("'\"")
        else:
            above.append((indent, key))
    return found


def read(path: Path) -> dict[str, str]:
    """The scalars of a file; FileNotFoundError if there is none, ValueError if it is no text or too large."""
    with open_file(path) as data:
        if len(data) > MOST_BYTES:
            raise ValueError(f"{path.name}: expected at most {MOST_BYTES:,} bytes of settings, found {len(data):,}")
        return parse(bytes(data).decode("utf-8", "replace"))
