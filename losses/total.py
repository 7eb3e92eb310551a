"""The sum of losses."""

import operator
from collections.abc import Iterable
from functools import reduce

from torch import Tensor


def total(losses: Iterable[Tensor]) -> Tensor:
    """Sum at least one loss; `sum` would add a 0 first, and be no tensor of none."""
    return reduce(operator.add, losses)
