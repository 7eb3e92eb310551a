"""The command `saddlepoint leaderboard`, from a checkout."""

import sys

from saddlepoint.leaderboard.command import main

if __name__ == "__main__":
    sys.exit(main())
