"""The command `saddlepoint train_extractor`, from a checkout."""

import sys

from saddlepoint.runs.console import run

if __name__ == "__main__":
    sys.exit(run("train_extractor"))
