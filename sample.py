"""The command `saddlepoint sample`, from a checkout."""

import sys

from saddlepoint.runs.console import run

if __name__ == "__main__":
    sys.exit(run("sample"))
