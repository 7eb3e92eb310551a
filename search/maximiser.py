"""The points of the unit cube that are most worth trying.

Many candidates are judged in one solve; from the best of them L-BFGS climbs, all at once as one
problem, since the solves of several points together cost little more than those of one. Columns
that are not continuous stay where the candidate has them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from saddlepoint.search.acquisition import Acquisition
from saddlepoint.search.space import Space
from saddlepoint.search.surrogate import LazyGaussianProcess

Array = NDArray[np.float64]

#: Of the candidates, how many lie around the best point seen.
NEARBY = 0.25
#: Candidates that L-BFGS starts from: the best ones, and some that were not chosen.
BEST_STARTS, OTHER_STARTS = 4, 1
#: Steps of L-BFGS.
STEPS = 40


def most_worthy(
    model: LazyGaussianProcess,
    acquisition: Acquisition,
    best: float,
    space: Space,
    around: Array,
    rng: np.random.Generator,
    candidates: int,
) -> Array:
    """Points (m, d) of the cube, the most worthy first; all are snapped.

    Args:
        model: what is believed.
        acquisition: what is maximised.
        best: the best target so far, in the model's units.
        space: what points mean.
        around: the best point so far (d,).
        rng: draws the candidates.
        candidates: their number.
    """
    x = space.snap(_drawn(space, around, rng, candidates))
    worth = acquisition(model.posterior(x), best)[0]
    order = np.argsort(-worth, kind="stable")
    starts = x[np.append(order[:BEST_STARTS], np.arange(OTHER_STARTS))]
    climbed = _climb(model, acquisition, best, space, starts)
    x = np.concatenate([climbed, x])
    worth = np.concatenate([acquisition(model.posterior(climbed), best)[0], worth])
    return x[np.argsort(-worth, kind="stable")]


def _drawn(space: Space, around: Array, rng: np.random.Generator, candidates: int) -> Array:
    """Candidates from all over the cube, and some near a point, at several distances."""
    nearby = int(NEARBY * candidates)
    everywhere = rng.uniform(size=(candidates - nearby, space.columns))
    widths = 10.0 ** rng.uniform(-3.0, -0.5, size=(nearby, 1))
    near = around + widths * rng.standard_normal((nearby, space.columns))
    # Near a choice are the other choices, now and then.
    jumps = (rng.uniform(size=near.shape) < 0.2) & ~space.is_continuous
    near = np.where(jumps, rng.uniform(size=near.shape), near)
    return np.concatenate([everywhere, np.clip(near, 0.0, 1.0)])


def _climb(
    model: LazyGaussianProcess,
    acquisition: Acquisition,
    best: float,
    space: Space,
    starts: Array,
) -> Array:
    if not space.is_continuous.any():
        return starts

    def loss(flat: Array) -> tuple[float, Array]:
        x = flat.reshape(starts.shape)
        believed = model.posterior(x, gradient=True)
        worth, by_mean, by_std = acquisition(believed, best)
        gradient = by_mean[:, None] * believed.mean_gradient
        gradient += by_std[:, None] * believed.std_gradient
        return -float(worth.sum()), -gradient.ravel()

    free = np.broadcast_to(space.is_continuous, starts.shape).ravel()
    low, high = np.where(free, 0.0, starts.ravel()), np.where(free, 1.0, starts.ravel())
    found = minimize(
        loss,
        starts.ravel(),
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([low, high], axis=1),
        options={"maxiter": STEPS},
    )
    return np.clip(found.x, low, high).reshape(starts.shape)
