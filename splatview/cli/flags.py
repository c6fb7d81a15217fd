"""How flags look in the help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

# A flag that need not be given says in its text what happens then, so the help has no "(default: None)".
MAYBE_FILE = arg(metavar="FILE", help_behavior_hint="")
MAYBE_NUMBER = arg(metavar="NUMBER", help_behavior_hint="")

MaybeLevel = Annotated[int | None, arg(metavar="LEVEL", help_behavior_hint="")]
ScenePaths = Annotated[Positional[tuple[Path, ...]], arg(metavar="SCENE [SCENE ...]", help_behavior_hint="")]
