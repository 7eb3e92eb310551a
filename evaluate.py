"""The command `saddlepoint evaluate`, from a checkout."""

from saddlepoint.runs.evaluate import main

if __name__ == "__main__":
    main()
