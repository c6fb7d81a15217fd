"""The command line: one module per command, imported only when it is asked for.

Exit codes: 0; 2 the user's error (one line on stderr); 1 ours (a traceback); 130 Ctrl+C; 143 SIGTERM, of what runs for long.
"""

from __future__ import annotations

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module

from splatview import __version__
from splatview.cli.faults import UserError

COMMANDS = {  # name: what the overview says; the module of that name holds a dataclass `Command` with a method `run`,
    # or `command`, which tells it by the arguments; perhaps also `hint`, which knows what flags that it has not may mean
    "view": "fly through scenes in the browser",
    "info": "tell what is in a scene file, and what is wrong with it",
    "edit": "change a scene by the operations of a document or a script",
    "convert": "write a scene in another format, cut, cropped or moved",
    "render": "draw pictures of a scene: one, or one for each camera of a path",
    "stylize": "redraw a scene, pictures, a video or a webcam in a style",
    "capture": "photograph a scene, for training a radiance field",
    "fit": "train a radiance field from photographs with poses",
    "distill": "train a smaller diffusion model that draws as a larger one does",
    "bench": "measure how fast this machine draws a scene",
    "models": "list, fetch and check the models of the diffusion stylizer",
    "doctor": "tell which backends and styles work on this machine, and why not",
}


def overview() -> str:
    """The help text of the bare command."""
    rows = "\n".join(f"  {name:<9} {text}" for name, text in COMMANDS.items())
    return (
        "usage: splatview [-h] [--version] COMMAND ...\n\n"
        "Fly through, edit and restyle captured 3D scenes in the browser.\n\n"
        f"commands:\n{rows}\n\n"
        "`splatview COMMAND --help` explains a command's flags."
    )


def run(arguments: Sequence[str]) -> None:
    """Run the command that `arguments` name; UserError if there is none."""
    if not arguments:
        raise UserError(f"expected a command: {', '.join(COMMANDS)} (splatview --help)")
    name, *rest = arguments
    if name in ("-h", "--help"):
        print(overview())
    elif name == "--version":
        print(f"splatview {__version__}")
    elif name in COMMANDS:
        from splatview.cli.parsing import parsed  # here: the overview and its errors need no parser

        module = import_module(f"splatview.cli.{name}")
        command = module.command(rest) if hasattr(module, "command") else module.Command
        parsed(command, f"splatview {name}", rest, getattr(module, "hint", lambda flag: "")).run()
    else:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else " (splatview --help)"
        raise UserError(f"expected a command ({', '.join(COMMANDS)}), got {name!r}{hint}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments` (None: the process's own) and give its exit code."""
    try:
        run(sys.argv[1:] if arguments is None else arguments)
    except UserError as error:
        print(f"splatview: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still buffered goes nowhere
    except Exception:
        traceback.print_exc()
        print("splatview: this is an error of splatview itself; please report it with the lines above", file=sys.stderr)
        return 1
    return 0
