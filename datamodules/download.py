"""Fetch a data set: ``saddlepoint download cifar10 root=data``."""

import difflib
import sys
from collections.abc import Sequence
from pathlib import Path

from saddlepoint.errors import UserError, one_line_on_ctrl_c

USAGE = "usage: saddlepoint download NAME root=DIRECTORY"

#: Classes of torchvision that fetch the data sets.
DOWNLOADS = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "stl10": "STL10",
    "celeba": "CelebA",
    "celeba64": "CelebA",
    "celeba128": "CelebA",
    "stacked_mnist": "MNIST",
}
BY_HAND: dict[str, str] = {
    "imagenet32": (
        "image-net.org gives ImageNet to registered users only: get either the images, as "
        "{root}/train/CLASS/*.JPEG, or the set down-sampled to 32x32 in npz form, as "
        "{root}/train_data_batch_1.npz to train_data_batch_10.npz"
    ),
    "lsun_bedroom": (
        "LSUN comes as a database: fetch and unpack bedroom_train_lmdb.zip from "
        "http://dl.yf.io/lsun/scenes to {root}/bedroom_train_lmdb"
    ),
}


def command(name: str, root: Path) -> str:
    """How to fetch a data set, for a message about a missing file."""
    if name in BY_HAND:
        return BY_HAND[name].format(root=root)
    return f"fetch it with: saddlepoint download {name} root={root}"


def explain_unreadable(
    name: str, root: Path, files: Sequence[tuple[Path, str | None]]
) -> UserError:
    """Say which of a data set's files is missing or corrupt, and what fetches it.

    Args:
        name: of the data set.
        root: where it was looked for.
        files: what it consists of, with their MD5 sums where they are known.
    """
    from torchvision.datasets.utils import check_integrity

    for file, md5 in files:
        if not file.exists():
            return UserError(f"{name} is not in {root} ({file} is missing): {command(name, root)}")
        if md5 is not None and not check_integrity(str(file), md5):
            return UserError(f"{file} is corrupt: delete it and {command(name, root)}")
    return UserError(f"{name} in {root} is corrupt: delete it and {command(name, root)}")


def download(name: str, root: Path) -> None:
    """Fetch a data set through torchvision and check it.

    Raises:
        UserError: no such set, one that must be fetched by hand, or no network.
    """
    if name in BY_HAND:
        raise UserError(BY_HAND[name].format(root=root))
    if name not in DOWNLOADS:
        near = difflib.get_close_matches(name, [*DOWNLOADS, *BY_HAND], n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(DOWNLOADS)}"
        raise UserError(f"cannot download {name!r}: {hint}")
    try:
        root.mkdir(parents=True, exist_ok=True)
        from torchvision import datasets  # seconds, for which no help has to wait

        getattr(datasets, DOWNLOADS[name])(root, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        # Some of torchvision's downloads pass this on as it is, others wrapped with the address.
        if "urlopen error" in reason:
            reason = f"no network, or the server does not answer ({reason})"
        raise UserError(f"cannot download {name} to {root}: {reason}") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if {"-h", "--help"} & set(arguments):
        print(f"Fetch a data set.\n\n{USAGE}\n\nNAME is one of {', '.join(DOWNLOADS)}.")
        return 0
    names = [argument for argument in arguments if "=" not in argument]
    options = dict(argument.split("=", 1) for argument in arguments if "=" in argument)
    root = Path(options.pop("root", "data")).expanduser()
    try:
        if len(names) != 1 or options:
            raise UserError(f"{USAGE}, where NAME is one of {', '.join(DOWNLOADS)}")
        with one_line_on_ctrl_c():
            download(names[0], root)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{names[0]} is in {root}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
