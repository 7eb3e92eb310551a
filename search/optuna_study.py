"""A study of Optuna's, in its journal: any of its samplers, and nothing is pruned.

Optuna wants to know the direction before the first run. So its study minimises the cost: the score,
or its negative where larger is better; the score itself is an attribute of each trial.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from saddlepoint.errors import UserError
from saddlepoint.search.space import Choice, Interval, Parameter, Steps, Value, Values
from saddlepoint.search.study import Goal, Search, Study, refuse_another
from saddlepoint.search.trial import COMPLETE, FAILED, INTERRUPTED, RUNNING, Trial

try:
    import optuna
    from optuna.distributions import (
        BaseDistribution,
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )
    from optuna.storages import BaseStorage, JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import FrozenTrial, TrialState
except ImportError as error:
    raise UserError(
        "hydra/sweeper=optuna needs Optuna, 4.9 or later: pip install 'optuna>=4.9'."
    ) from error

FILE_NAME = "optuna.log"
#: Of a study in its storage.
NAME = "saddlepoint"
#: Attribute of a suggestion that was tried before: the number of that trial.
REPEATED = "repeats"
#: Suggestions of known points, in a row, after which a sampler has nothing new to say.
REPEATS = 20


class OptunaStudy(Study):
    """Trials in a storage of Optuna's.

    Args:
        search: what is searched.
        sampler: makes a sampler of a seed.
        storage: of Optuna's; None: a journal in the folder of the sweep.
        name: of the study there.
    """

    def __init__(
        self,
        search: Search,
        sampler: Callable[[int], "optuna.samplers.BaseSampler"],
        storage: "str | BaseStorage | None" = None,
        name: str = NAME,
    ) -> None:
        super().__init__(search)
        optuna.logging.set_verbosity(logging.WARNING)
        self.sampler = sampler
        given = _journal(search.folder) if storage is None else storage
        self._storage = optuna.storages.get_storage(given)
        self._study = optuna.create_study(
            study_name=name,
            storage=self._storage,
            load_if_exists=True,
            direction="minimize",
            pruner=optuna.pruners.NopPruner(),
        )
        self._id = self._storage.get_study_id_from_name(name)
        self._distributions = {p.key: _distribution(p) for p in search.space.parameters}
        kept = self._study.user_attrs
        if "search" in kept:
            refuse_another(kept["search"], search)
        else:
            self._study.set_user_attr("search", search.description())
        if "goal" in kept:
            self.take_up(Goal(**kept["goal"]))
        self.give_up_running()

    @property
    def trials(self) -> list[Trial]:
        """See `Study`; suggestions of known points are none."""
        return [
            _trial(frozen, self._values(frozen.params))
            for frozen in self._study.get_trials(deepcopy=False)
            if REPEATED not in frozen.user_attrs and frozen.state != TrialState.WAITING
        ]

    def ask(self, count: int) -> list[Trial]:
        """See `Study`; points that were interrupted come first."""
        self._enqueue_interrupted()
        asked: list[Trial] = []
        in_vain = 0
        while len(asked) < count and in_vain < REPEATS:
            known = {tuple(t.values.items()): t for t in self.trials if t.state != INTERRUPTED}
            self._study.sampler = self.sampler(self._seed())
            suggested = self._study.ask(fixed_distributions=self._distributions)
            trial = Trial(suggested.number, self._values(suggested.params))
            same = known.get(tuple(trial.values.items()))
            if same is None:
                asked.append(trial)
            else:  # what is known, the sampler is told at once
                trial.state, trial.score, trial.spread = same.state, same.score, same.spread
                self._set(trial, {REPEATED: same.number})
                self._finish(trial)
            in_vain = 0 if same is None else in_vain + 1
        return asked

    def tell(self, trial: Trial) -> None:
        """See `Study`."""
        kept = ("score", "scores", "spread") if trial.state == COMPLETE else ("state", "sentence")
        self._set(trial, {name: getattr(trial, name) for name in kept})
        self._finish(trial)

    def keep_goal(self) -> None:
        """See `Study`."""
        self._study.set_user_attr("goal", vars(self.goal))

    def _finish(self, trial: Trial) -> None:
        if trial.state == COMPLETE:
            self._study.tell(trial.number, self.cost(trial))
        else:
            self._study.tell(trial.number, state=TrialState.FAIL)

    def _set(self, trial: Trial, attributes: dict[str, Any]) -> None:
        number = self._storage.get_trial_id_from_study_id_trial_number(self._id, trial.number)
        for name, value in attributes.items():
            self._storage.set_trial_user_attr(number, name, value)

    def _enqueue_interrupted(self) -> None:
        parameters = self.search.space.parameters
        frozen = self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))
        waiting = [trial.system_attrs.get("fixed_params") for trial in frozen]
        for values in self.interrupted():
            params = {p.key: _param(p, values[p.key]) for p in parameters}
            if params not in waiting:
                self._study.enqueue_trial(params)

    def _seed(self) -> int:
        """Another one for each trial: a sampler with the seed of before says the same again."""
        trials = len(self._study.get_trials(deepcopy=False))
        return int(np.random.SeedSequence([self.search.seed, trials]).generate_state(1)[0])

    def _values(self, params: dict[str, Any]) -> Values:
        parameters = self.search.space.parameters
        return {p.key: _value(p, params[p.key]) for p in parameters if p.key in params}


def _journal(folder: Path) -> "JournalStorage":
    folder.mkdir(parents=True, exist_ok=True)
    return JournalStorage(JournalFileBackend(str(folder / FILE_NAME)))


def _distribution(parameter: Parameter) -> "BaseDistribution":
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.values)
    if isinstance(parameter, Interval):
        kind = IntDistribution if parameter.whole else FloatDistribution
        return kind(parameter.low, parameter.high, log=parameter.log)
    numbers = [_number(value) for value in parameter.values]
    step = (numbers[-1] - numbers[0]) / (len(numbers) - 1)
    if all(isinstance(number, int) for number in numbers):
        return IntDistribution(numbers[0], numbers[-1], step=round(step))
    return FloatDistribution(numbers[0], numbers[-1], step=step)


def _param(parameter: Parameter, value: Value) -> Any:
    return _number(str(value)) if isinstance(parameter, Steps) else value


def _value(parameter: Parameter, param: Any) -> Value:
    if isinstance(parameter, Steps):
        return min(parameter.values, key=lambda value: abs(_number(value) - param))
    return parameter.written(param) if isinstance(parameter, Interval) else param


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _trial(frozen: "FrozenTrial", values: Values) -> Trial:
    kept = frozen.user_attrs
    if frozen.state == TrialState.COMPLETE:
        scores = list(kept["scores"])
        return Trial(frozen.number, values, COMPLETE, kept["score"], kept["spread"], scores)
    if frozen.state == TrialState.RUNNING:
        return Trial(frozen.number, values, RUNNING)
    return Trial(frozen.number, values, kept.get("state", FAILED), sentence=kept.get("sentence"))
