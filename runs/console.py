"""The command `saddlepoint`: one word says which of the commands, the others are its own."""

import importlib
import sys
from pathlib import Path

from saddlepoint.errors import one_line_on_ctrl_c

ROOT = Path(__file__).resolve().parent.parent
#: Commands that Hydra composes, and others with the modules whose ``main`` they run.
COMPOSED = ("train", "evaluate", "sample", "export", "train_extractor")
OTHERS = {
    "leaderboard": "saddlepoint.leaderboard.command",
    "download": "saddlepoint.datamodules.download",
}
COMMANDS = (*COMPOSED, *OTHERS)
USAGE = f"usage: saddlepoint {{{', '.join(COMMANDS)}}} ..., each with --help"


def main() -> int | None:
    """Run a command; return its exit code."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name in ("", "-h", "--help"):
        print(USAGE)
        return 0 if name else 2
    if name not in COMMANDS:
        print(f"error: '{name}' is no command; {USAGE}.", file=sys.stderr)
        return 2
    # The program's name for Hydra and argparse; also the file that a launcher of several processes
    # starts anew with the same arguments.
    sys.argv = [str(ROOT / f"{name}.py"), *sys.argv[2:]]
    return run(name)


def run(name: str) -> int | None:
    """Import a command and run it with the words of the command line."""
    with one_line_on_ctrl_c():
        if name in OTHERS:
            return importlib.import_module(OTHERS[name]).main()
        from saddlepoint.runs.entrance import enter  # Hydra takes a moment

        return enter(name, sys.argv[1:])
