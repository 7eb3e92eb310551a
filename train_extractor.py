"""The command `saddlepoint train_extractor`, from a checkout."""

from saddlepoint.runs.train_extractor import main

if __name__ == "__main__":
    main()
