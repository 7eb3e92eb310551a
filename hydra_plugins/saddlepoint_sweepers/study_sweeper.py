"""What all sweepers that learn from scores share: the loop between a study and a launcher."""

import math
import os
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from saddlepoint.errors import UserError
from saddlepoint.schema import Count, Natural, NotNegative, Share, checked

if TYPE_CHECKING:
    from saddlepoint.search.study import Search, Study
    from saddlepoint.search.trial import Trial

#: What scores call a direction that settings call otherwise.
DIRECTIONS = {"minimize": "smaller", "maximize": "larger"}


class StudySweeper(Sweeper):
    """Runs the points that a study asks for, and tells it what became of them.

    Args:
        n_trials: points in all, failed ones and those before a restart included.
        parallel: points at a time; null: as many as the launcher has n_jobs, else 1.
        direction: minimize or maximize the score; null: as the score says itself.
        seeds: runs of each point, of consecutive seeds; the point's score is their mean.
        spread_weight: of the standard deviation over seeds, which is added to the cost.
        max_failure_rate: share of the points of a batch that may fail before the sweep ends.
        target: a score that ends the sweep when it is reached.
        seed: of whatever is drawn in suggesting points.
        params: what is searched, as {setting: sweep}; the command line comes on top.
    """

    @checked
    def __init__(
        self,
        n_trials: Count = 50,
        parallel: Count | None = None,
        direction: Literal["minimize", "maximize"] | None = None,
        seeds: Count = 1,
        spread_weight: NotNegative = 0.0,
        max_failure_rate: Share = 1.0,
        target: float | None = None,
        seed: Natural = 0,
        params: dict[str, Any] | None = None,
    ) -> None:
        self.n_trials = n_trials
        self.parallel = parallel
        self.direction = direction
        self.seeds = seeds
        self.spread_weight = spread_weight
        self.max_failure_rate = max_failure_rate
        self.target = target
        self.seed = seed
        self.params = dict(params or {})

    @abstractmethod
    def study(self, search: "Search") -> "Study":
        """Begin the study, or take it up where it was left."""

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        """Take what Hydra has; see its `Sweeper`."""
        self.hydra_context = hydra_context
        self.config = config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[Sequence[JobReturn]]:
        """Search, from where the study in the sweep's folder was left.

        Args:
            arguments: of the command line, without Hydra's own.

        Returns:
            What the launcher returned, batch by batch.

        Raises:
            UserError: nothing is searched, the folder has a study of something else, no run has a
                score, too many points failed, or a point is to be played by several processes.
        """
        from saddlepoint.atomic import write_text
        from saddlepoint.runs import lock
        from saddlepoint.search.picture import draw

        self._refuse_several_processes()
        search = self._search(arguments)
        search.folder.mkdir(parents=True, exist_ok=True)
        with lock.hold(search.folder):
            write_text(search.folder / "multirun.yaml", OmegaConf.to_yaml(self.config))
            study = self.study(search)
            returned = []
            while not self._is_over(study):
                number = len(study.trials) * self.seeds
                left = self.n_trials - study.finished
                trials = study.ask(min(self._at_once(), left))
                if not trials:
                    _say("all points of the space have been tried")
                    break
                returned += self._try(study, trials, number)
            self._write_results(study)
            draw(study, search.folder / "optimization.png")
        self._say_end(study)
        return returned

    def _refuse_several_processes(self) -> None:
        """Every process of a run started from here would be a search of its own."""
        devices = OmegaConf.select(self.config, "trainer.devices", default=1)
        one = devices == 1 or (OmegaConf.is_list(devices) and len(devices) == 1)
        if not one and self.config.hydra.launcher._target_.endswith(".BasicLauncher"):
            raise UserError(
                "A search cannot be one of the processes that play a point: say trainer.devices=1,"
                " or let a launcher start them, such as hydra/launcher=submitit_slurm."
            )

    def _search(self, arguments: list[str]) -> "Search":
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from saddlepoint.search.study import Search
        from saddlepoint.search.sweep_syntax import split

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = [f"{key}={sweep}" for key, sweep in self.params.items()]
        space, fixed = split(parser.parse_overrides([*given, *arguments]))
        if self.seeds > 1 and ("seed" not in self.config or "seed" in space.keys):
            raise UserError(
                "hydra.sweeper.seeds needs a setting called seed that is not searched itself."
            )
        return Search(
            space=space,
            fixed=tuple(fixed),
            folder=Path(self.config.hydra.sweep.dir),
            seed=self.seed,
            seeds=self.seeds,
            spread_weight=self.spread_weight,
            direction=DIRECTIONS.get(self.direction),
        )

    def _at_once(self) -> int:
        """Points of a batch."""
        if self.parallel is not None:
            return self.parallel
        jobs = self.config.hydra.launcher.get("n_jobs", 1) or 1
        if jobs < 0:  # of joblib: all cores but some
            jobs = max(1, (os.cpu_count() or 1) + 1 + jobs)
        return max(1, jobs // self.seeds)

    def _is_over(self, study: "Study") -> bool:
        if study.finished >= self.n_trials:
            return True
        best = study.best
        if self.target is None or best is None:
            return False
        smaller = study.goal.direction == "smaller"
        return best.score <= self.target if smaller else best.score >= self.target

    def _try(self, study: "Study", trials: list["Trial"], number: int) -> list[Sequence[JobReturn]]:
        """Run the seeds of some points together, and tell the study of them."""
        returned: list[Sequence[JobReturn]] = []
        legal = []
        for trial in trials:
            try:
                self.validate_batch_is_legal(self._jobs(study, trial)[:1])
                legal.append(trial)
            except Exception as error:
                trial.fail(_sentence(error))
        try:
            batch = [job for trial in legal for job in self._jobs(study, trial)]
            runs = self.launcher.launch(batch, initial_job_idx=number) if batch else []
            returned.append(runs)
            for place, trial in enumerate(legal):
                self._judge(study, trial, runs[place * self.seeds : (place + 1) * self.seeds])
        except (UserError, KeyboardInterrupt, SystemExit):
            for trial in trials:
                if not trial.counts:
                    trial.stop()
                study.tell(trial)
            raise
        except Exception as error:  # a launcher whose worker has died
            for trial in legal:
                if not trial.counts:
                    trial.fail(f"The launcher failed: {_sentence(error)}")
        for trial in trials:
            study.tell(trial)
        self._report(study, trials)
        return returned

    def _jobs(self, study: "Study", trial: "Trial") -> list[list[str]]:
        """The command lines of a point, one for each seed."""
        fixed = list(study.search.fixed)
        if self.seeds == 1:
            return [[*fixed, *trial.overrides]]
        fixed = [override for override in fixed if not override.startswith("seed=")]
        first = self.config.seed
        return [[*fixed, *trial.overrides, f"seed={first + i}"] for i in range(self.seeds)]

    def _judge(self, study: "Study", trial: "Trial", runs: Sequence[JobReturn]) -> None:
        """Let a trial have the scores of its runs, or the sentence of the first that failed."""
        scores = []
        for run in runs:
            score = run._return_value  # return_value raises what the run has raised
            if run.status != JobStatus.COMPLETED:
                return trial.fail(_sentence(score))
            if score is None and study.best is None:
                raise UserError(
                    "The runs have no score that could be searched by: choose one by monitor= or"
                    " protocol=."
                )
            if isinstance(score, bool) or not isinstance(score, int | float):
                return trial.fail(f"The run returned no number: {score!r}.")
            if not math.isfinite(score):
                return trial.fail(f"The score is {score}.")
            study.aim(getattr(score, "name", ""), getattr(score, "direction", None))
            scores.append(score)
        return trial.complete(scores)

    def _report(self, study: "Study", trials: list["Trial"]) -> None:
        best = study.best
        for trial in trials:
            what = f"point {trial.number} ({' '.join(trial.overrides)})"
            if trial.failed:
                _say(f"{what} failed: {trial.sentence}")
            else:
                spread = f" +- {trial.spread:.4g}" if self.seeds > 1 else ""
                _say(f"{what}: {study.goal.name or 'score'} {trial.score:.5g}{spread}")
        _say(
            f"{study.finished} of {self.n_trials} points"
            + (f", the best {best.score:.5g} at point {best.number}" if best else "")
        )
        failed = sum(trial.failed for trial in trials)
        if failed > self.max_failure_rate * len(trials):
            raise UserError(
                f"{failed} of {len(trials)} points failed together, the last one because:"
                f" {[t.sentence for t in trials if t.sentence][-1]} More may fail with"
                " hydra.sweeper.max_failure_rate=1."
            )

    def _write_results(self, study: "Study") -> None:
        """Write the file that Hydra's optimising sweepers end with, and a little more."""
        from saddlepoint.atomic import write_text

        best = study.best
        results: dict[str, Any] = {"name": type(self).__module__.rsplit(".", 1)[-1]}
        if best is not None:
            results["best_evaluated_params"] = best.values
            results["best_evaluated_result"] = best.score
            results["spread"] = best.spread
        results["score"] = study.goal.name or None
        results["direction"] = study.goal.direction
        results["points"] = study.finished
        results["failed"] = sum(trial.failed for trial in study.trials)
        text = OmegaConf.to_yaml(OmegaConf.create(results))
        write_text(study.search.folder / "optimization_results.yaml", text)

    def _say_end(self, study: "Study") -> None:
        best, folder = study.best, study.search.folder
        failed = [trial for trial in study.trials if trial.failed]
        if best is None:
            reason = f": {failed[-1].sentence}" if failed else "."
            raise UserError(f"None of the {len(failed)} points has a score{reason}")
        _say(
            f"the best of {study.finished} points, {len(failed)} of them failed:"
            f" {study.goal.name or 'score'} {best.score:.5g} with {' '.join(best.overrides)}"
        )
        _say(f"everything lies in {folder}: optimization_results.yaml, optimization.png")


def _say(line: str) -> None:
    print(f"sweep: {line}", flush=True)


def _sentence(error: BaseException) -> str:
    """What a user is told of an error."""
    from saddlepoint.runs.command_line import user_sentence

    text = user_sentence(error) or f"{type(error).__name__}: {error}"
    return " ".join(text.split())
