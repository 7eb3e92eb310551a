"""The command `saddlepoint export`, from a checkout."""

import sys

from saddlepoint.runs.console import run

if __name__ == "__main__":
    sys.exit(run("export"))
