"""The command `saddlepoint train`, from a checkout."""

from saddlepoint.runs.train import main

if __name__ == "__main__":
    main()
