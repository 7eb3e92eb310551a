"""A study that suggests points by a lazy Gaussian process, and its file.

The file is written anew, whole, whenever a trial begins or ends. What is suggested is a function of
the trials that are over and of those that are pending, so that a study that was cut off goes on as
if it had not been; the hyper-parameters of its refits are in the file, lest they be learned twice.
"""

import json
import math
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import qmc

from saddlepoint.atomic import write_text
from saddlepoint.errors import UserError
from saddlepoint.records.record import LARGER
from saddlepoint.search.acquisition import Acquisition
from saddlepoint.search.likelihood import Hyperparameters
from saddlepoint.search.maximiser import most_worthy
from saddlepoint.search.refit import schedule_of
from saddlepoint.search.space import Values
from saddlepoint.search.study import Goal, Search, Study, refuse_another
from saddlepoint.search.surrogate import LazyGaussianProcess
from saddlepoint.search.trial import COMPLETE, INTERRUPTED, RUNNING, Trial

Array = NDArray[np.float64]

FILE_NAME = "study.json"
SCHEMA = 1
#: Of the points that are spread evenly: 2^10; where all have been tried a space is exhausted.
SPREAD = 10


class LazyStudy(Study):
    """Trials, and the Gaussian process that is fed with them.

    Args:
        search: what is searched.
        n_init: points spread evenly before the model is asked.
        acquisition: what the next point maximises.
        kernel: one of `kernels.KERNELS`.
        ard: whether every column has a length scale of its own.
        noise: variance of a score, as a share of all scores' variance; None: it is learned.
        refit: when hyper-parameters are learned anew: geometric, lml_drop, or a lag.
        pending: what a running point is imagined to give: believer, or the worst, mean or best
            score.
        on_failure: impute_worst, or drop.
        log_score: whether the model sees the logarithms of scores.
        candidates: points of the cube among which the next one is looked for.
    """

    def __init__(
        self,
        search: Search,
        *,
        n_init: int,
        acquisition: Acquisition,
        kernel: str = "matern52",
        ard: bool = True,
        noise: float | None = None,
        refit: int | str = "geometric",
        pending: str = "believer",
        on_failure: str = "impute_worst",
        log_score: bool = False,
        candidates: int = 1000,
    ) -> None:
        super().__init__(search)
        self.n_init = n_init
        self.acquisition = acquisition
        self.pending = pending
        self.on_failure = on_failure
        self.log_score = log_score
        self.candidates = candidates
        self._trials: list[Trial] = []
        self._told: list[int] = []
        self._kind = {
            "kernel": kernel,
            "ard": ard,
            "noise": noise,
            "refit": refit,
            "on_failure": on_failure,
            "log_score": log_score,
        }
        known = self._read()
        self.model = LazyGaussianProcess(
            search.space.columns,
            schedule_of(refit),
            kernel=kernel,
            ard=ard,
            noise=noise,
            seed=search.seed,
            known=known,
        )
        self.give_up_running()

    @property
    def trials(self) -> list[Trial]:
        """See `Study`."""
        return self._trials

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.search.folder / FILE_NAME

    def ask(self, count: int) -> list[Trial]:
        """See `Study`; points that were interrupted come first."""
        asked: list[Trial] = []
        again = self.interrupted()
        while len(asked) < count:
            values = again.pop(0) if again else self._next()
            if values is None:
                break
            asked.append(Trial(len(self._trials), values))
            self._trials.append(asked[-1])
        self.write()
        return asked

    def tell(self, trial: Trial) -> None:
        """See `Study`."""
        self._trials[trial.number] = trial
        if trial.counts:
            self._told.append(trial.number)
        self.write()

    def keep_goal(self) -> None:
        """See `Study`."""
        self.write()

    def learn(self) -> None:
        """Let the model see the trials that are over, one by one, in the order they ended."""
        seen = self._to_see()
        for rows in range(self.model.rows + 1, len(seen) + 1):
            place = self.search.space.encode(seen[rows - 1].values)
            self.model.see(place, self._targets(seen[:rows]))

    def write(self) -> None:
        """Write the file, whole."""
        content = {
            "schema": SCHEMA,
            **self.search.description(),
            "goal": vars(self.goal),
            "trials": [trial.plain() for trial in self._trials],
            "told": self._told,
            "model": self._kind,
            "refits": {
                rows: {"length_scales": h.length_scales.tolist(), "noise": h.noise}
                for rows, h in {**self.model.known, **self.model.refits}.items()
            },
        }
        write_text(self.path, json.dumps(content, indent=1, allow_nan=False) + "\n")

    def _read(self) -> dict[int, Hyperparameters]:
        """Take up the file, if there is one.

        Returns:
            The hyper-parameters of its refits; none where another kind of model has learned them.
        """
        if not self.path.exists():
            return {}
        try:
            content = json.loads(self.path.read_text())
            if content["schema"] != SCHEMA:
                raise ValueError(f"its schema is {content['schema']}, not {SCHEMA}")
            trials = [Trial(**plain) for plain in content["trials"]]
            told, goal = [int(number) for number in content["told"]], Goal(**content["goal"])
            refits = {
                int(rows): Hyperparameters(np.array(h["length_scales"]), h["noise"])
                for rows, h in content["refits"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{self.path} is no study ({' '.join(str(error).split())}): move it away, or choose"
                " another folder by sweep_name=..."
            ) from error
        refuse_another(content, self.search)
        self.take_up(goal)
        self._trials, self._told = trials, told
        return refits if content.get("model") == self._kind else {}

    def _next(self) -> Values | None:
        tried = {tuple(t.values.items()) for t in self._trials if t.state != INTERRUPTED}
        points = self._spread() if self._is_beginning(len(tried)) else self._modelled(len(tried))
        return next((v for v in points if tuple(v.items()) not in tried), None)

    def _is_beginning(self, tried: int) -> bool:
        return tried < self.n_init or not any(t.state == COMPLETE for t in self._trials)

    def _spread(self) -> Iterator[Values]:
        return map(self.search.space.decode, self._evenly)

    @cached_property
    def _evenly(self) -> Array:
        sequence = qmc.Sobol(self.search.space.columns, seed=self.search.seed)
        return sequence.random_base2(SPREAD)

    def _modelled(self, tried: int) -> Iterator[Values]:
        space, model = self.search.space, self.model
        self.learn()
        model.forget()
        running = [space.encode(t.values) for t in self._trials if t.state == RUNNING]
        targets, best = self._targets(self._to_see()), model.best_mean()
        model.imagine(np.array(running), self._imagined(targets))
        points = most_worthy(
            model,
            self.acquisition,
            best,
            space,
            around=space.encode(self.best.values),
            rng=np.random.default_rng([self.search.seed, tried]),
            candidates=self.candidates,
        )
        yield from map(space.decode, points)
        yield from self._spread()

    def _imagined(self, targets: Array) -> float | None:
        if self.pending == "believer":
            return None
        picked = {"worst": np.min, "mean": np.mean, "best": np.max}[self.pending](targets)
        return self.model.standardised(float(picked))

    def _to_see(self) -> list[Trial]:
        """What the model is to see: nothing before the first success, which comes first."""
        over = [self._trials[number] for number in self._told]
        first = next((t for t in over if t.state == COMPLETE), None)
        if first is None:
            return []
        imputes = self.on_failure == "impute_worst"
        return [first] + [t for t in over if t is not first and (imputes or t.state == COMPLETE)]

    def _targets(self, trials: list[Trial]) -> Array:
        """What the model is to make large (n,): a failed point has the worst of the others."""
        made = [self._target(t) if t.state == COMPLETE else math.inf for t in trials]
        worst = min(made)
        return np.array([worst if target == math.inf else target for target in made])

    def _target(self, trial: Trial) -> float:
        cost = self.cost(trial)
        if not self.log_score:
            return -cost
        sign = math.copysign(1.0, cost)
        if (sign < 0) != (self.goal.direction == LARGER):
            raise UserError(
                f"The score {trial.score:g} has no logarithm: say hydra.sweeper.log_score=false."
            )
        return -sign * math.log(abs(cost))
