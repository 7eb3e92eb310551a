"""The command `saddlepoint sample`, from a checkout."""

from saddlepoint.runs.sample import main

if __name__ == "__main__":
    main()
