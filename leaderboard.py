"""The command `saddlepoint leaderboard`, from a checkout."""

import sys

from saddlepoint.runs.console import run

if __name__ == "__main__":
    sys.exit(run("leaderboard"))
