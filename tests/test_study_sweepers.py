"""``hydra/sweeper=lazy_gp`` and ``optuna``: found by Hydra, run to an end, and taken up again."""

import json
import runpy
import subprocess
import sys
from unittest import mock

import pytest
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from test_commands import commands, tiny
from train_cli import QUICK, ROOT, command

from saddlepoint.errors import UserError
from saddlepoint.records.reading import read_records
from saddlepoint.runs.command_line import user_sentence
from saddlepoint.schema import settings_of, target_of

SWEEPS = {"x": "interval(-1.0,1.0)", "y": "interval(0.0,5.0)"}
PLANE = tuple(f"{name}={sweep}" for name, sweep in SWEEPS.items())
SWEEPERS = pytest.mark.parametrize("sweeper", ["lazy_gp", "optuna"])


@pytest.fixture
def run(tmp_path, capfd):
    """Search in tmp_path; returns the results file and what was printed, and keeps the latter."""

    def run(sweeper, *words, trials=8):
        if sweeper == "optuna":
            pytest.importorskip("optuna")
        GlobalHydra.instance().clear()
        options = [f"hydra/sweeper={sweeper}", f"hydra.sweeper.n_trials={trials}"]
        argv = ["quadratic.py", "-m", *options, f"hydra.sweep.dir={tmp_path}", *words]
        capfd.readouterr()
        try:
            with mock.patch.object(sys, "argv", argv):
                runpy.run_path(str(ROOT / "tests" / "quadratic.py"), run_name="__main__")
        finally:
            run.said.append(capfd.readouterr().out)
        results = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
        return results, run.said[-1]

    run.said = []
    return run


def jobs_of(said):
    """What Hydra says of each job: its number, and its words."""
    return [line.split("#")[1] for line in said.splitlines() if "\t#" in line]


def test_hydra_finds_them():
    names = {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}
    assert {"LazyGPSweeper", "OptunaSweeper"} <= names


def test_hydra_starts_without_numpy_for_those_who_do_not_search():
    program = "import sys, hydra; from hydra.core.plugins import Plugins; Plugins.instance();" + (
        "print([n for n in ('numpy', 'scipy', 'optuna', 'torch') if n in sys.modules])"
    )
    path = f"{ROOT.parent}:{ROOT}"  # as in a checkout that is installed
    environment = {"PYTHONPATH": path, "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True)
    assert done.stdout.decode().strip() == "[]", done.stderr


@SWEEPERS
def test_every_setting_is_described_and_refused_in_one_sentence(sweeper, run):
    with pytest.raises(Exception, match="parallel") as error:
        run(sweeper, *PLANE, "hydra.sweeper.parallel=0")
    assert "parallel=0 is not to be had: give a whole number of at least 1" in user_sentence(
        error.value
    )


@SWEEPERS
def test_a_search_and_its_end(sweeper, run, tmp_path):
    results, said = run(sweeper, *PLANE, "kind=a,b,broken,odd,lost", "scale=2.0", trials=12)
    assert results["name"] == sweeper
    assert (results["score"], results["direction"]) == ("distance", "smaller")
    assert results["points"] == 12 and 0 < results["failed"] < 12
    assert set(results["best_evaluated_params"]) == {"x", "y", "kind"}
    best = results["best_evaluated_params"]
    value = 2 * ((best["x"] - 0.3) ** 2 + (best["y"] - 2) ** 2 / 4 + 0.3 * (best["kind"] == "b"))
    assert results["best_evaluated_result"] == pytest.approx(value)
    for kind, sentence in {
        "broken": "This kind is broken: choose another.",
        "odd": "ValueError: something odd",
        "lost": "The score is nan.",
    }.items():
        lines = [line for line in said.splitlines() if f"kind={kind})" in line]
        assert all(line.endswith(f"failed: {sentence}") for line in lines)
    assert "the best of 12 points" in said
    assert (tmp_path / "optimization.png").exists() and (tmp_path / "multirun.yaml").exists()
    assert [job.split()[0] for job in jobs_of(said)] == [str(number) for number in range(12)]
    assert said.count("scale=2.0") >= 12  # what is not searched is passed on

    results, said = run(sweeper, *PLANE, "kind=a,b,broken,odd,lost", "scale=2.0", trials=12)
    assert results["points"] == 12 and "\t#" not in said
    results, said = run(sweeper, *PLANE, "kind=a,b,broken,odd,lost", "scale=2.0", trials=14)
    assert results["points"] == 14
    assert [job.split()[0] for job in jobs_of(said)] == ["12", "13"]


@SWEEPERS
def test_scores_say_which_way_they_are_better_and_settings_overrule_them(sweeper, run, tmp_path):
    results, _ = run(sweeper, *PLANE, "scale=-1.0", trials=4)
    assert (results["score"], results["direction"]) == ("depth", "larger")
    with pytest.raises(UserError, match="choose another sweep_name"):
        run(sweeper, *PLANE, "scale=-1.0", "hydra.sweeper.direction=minimize")


def test_a_plain_number_needs_a_direction(run):
    with pytest.raises(UserError, match="hydra.sweeper.direction=minimize, or maximize"):
        run("lazy_gp", *PLANE, "plain=true")
    results, _ = run("lazy_gp", *PLANE, "plain=true", "hydra.sweeper.direction=maximize", trials=3)
    assert results["direction"] == "larger" and results["score"] is None


@SWEEPERS
def test_presets_hold_every_setting_with_its_default_and_a_comment(sweeper):
    lines = (ROOT / "conf" / "hydra" / "sweeper" / f"{sweeper}.yaml").read_text().splitlines()
    assert all("#" in line for line in lines if "_target_" not in line)
    preset = yaml.safe_load("\n".join(lines))
    known = settings_of(target_of(preset.pop("_target_")))
    assert set(preset) == set(known)
    for name, setting in known.items():
        assert setting.meaning, name
        if name not in ("params", "sampler"):
            assert preset[name] == setting.default, name


def test_several_processes_a_point_need_a_launcher(run):
    with pytest.raises(UserError, match="cannot be one of the processes that play a point"):
        run("lazy_gp", *PLANE, "+trainer.devices=2")


def test_runs_without_a_score_end_the_search(run):
    with pytest.raises(UserError, match="monitor= or protocol="):
        run("lazy_gp", *PLANE, "kind=unscored")


def test_a_search_without_a_success_says_why(run):
    with pytest.raises(UserError, match="None of the 3 points has a score: This kind is broken"):
        run("lazy_gp", *PLANE, "kind=broken", trials=3)


def test_too_many_failures_end_the_search(run, tmp_path):
    with pytest.raises(UserError, match="1 of 1 points failed together"):
        run("lazy_gp", *PLANE, "kind=broken", "hydra.sweeper.max_failure_rate=0.5")
    (trial,) = json.loads((tmp_path / "study.json").read_text())["trials"]
    assert trial["state"] == "failed"


@SWEEPERS
def test_a_search_that_is_interrupted_goes_on_with_the_same_point(sweeper, run, tmp_path):
    stop = tmp_path / "stop"
    words = (*PLANE, f"stop={stop}")
    run(sweeper, *words, trials=2)
    stop.touch()
    with pytest.raises(SystemExit):
        run(sweeper, *words, trials=4)
    results, said = run(sweeper, *words, trials=4)
    assert results["points"] == 4 and results["failed"] == 0
    left, again = (jobs_of(text)[0] for text in (run.said[-2], said))
    assert left.split(" : ")[1] == again.split(" : ")[1]
    assert [job.split()[0] for job in jobs_of(said)] == ["3", "4"]  # 2 is that of the interrupted


@SWEEPERS
def test_several_seeds_a_point_and_several_points_at_a_time(sweeper, run, tmp_path):
    seeds = ("hydra.sweeper.seeds=3", "hydra.sweeper.parallel=2", "seed=1")
    results, said = run(sweeper, *PLANE, *seeds, trials=4)
    assert said.count("Launching 6 jobs") == 2
    assert results["spread"] == pytest.approx(0.5)  # of 0.5, 1.0 and 1.5
    jobs = jobs_of(said)
    assert len(jobs) == 12
    assert [line.count("seed=") for line in jobs] == [1] * 12
    assert [line.split("seed=")[1] for line in jobs[:3]] == ["1", "2", "3"]
    assert len({line.split(" seed=")[0].split(" : ")[1] for line in jobs}) == 4


def test_as_many_at_a_time_as_the_launcher_has_jobs(run, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    _, said = run("lazy_gp", *PLANE, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", trials=4)
    assert said.count("sweep: point") == 4


def test_a_target_ends_the_search(run):
    results, _ = run("lazy_gp", *PLANE, "hydra.sweeper.target=2.0", trials=50)
    assert results["best_evaluated_result"] <= 2.0 and results["points"] < 50


def test_what_is_searched_may_stand_in_settings(run):
    params = [f"+hydra.sweeper.params.{name}='{sweep}'" for name, sweep in SWEEPS.items()]
    results, _ = run("lazy_gp", *params, trials=3)
    assert set(results["best_evaluated_params"]) == {"x", "y"}


def test_it_finds_the_minimum_in_30_points(run):
    results, _ = run("lazy_gp", *PLANE, "hydra.sweeper.noise=1e-6", trials=30)
    assert results["best_evaluated_result"] < 1e-2


def test_a_samplers_settings(run):
    sampler = "hydra.sweeper.sampler._target_=optuna.samplers.RandomSampler"
    assert run("optuna", *PLANE, sampler, trials=3)[0]["points"] == 3


def test_optuna_that_is_missing_is_named():
    with (
        mock.patch.dict(sys.modules, {"optuna": None, "saddlepoint.search.optuna_study": None}),
        pytest.raises(ImportError),
    ):
        import saddlepoint.search.optuna_study  # noqa: F401
    sys.modules.pop("saddlepoint.search.optuna_study", None)
    with (
        mock.patch.dict(sys.modules, {"optuna": None}),
        pytest.raises(UserError, match="pip install 'optuna>=4.9'"),
    ):
        import saddlepoint.search.optuna_study  # noqa: F401, F811


def test_training_is_searched_by_the_first_score_of_its_records(tmp_path):
    few = ["monitor=quick", "monitor.num_real=200", "monitor.num_fake=50", "iterations=2"]
    words = [w for w in QUICK if not w.startswith(("monitor", "iterations"))]
    lr = "gan.generator_optimizer.lr=tag(log,interval(1e-4,1e-2))"
    options = ["hydra.sweeper.n_trials=2", f"hydra.sweep.dir={tmp_path}/search"]
    line = ["-m", "hydra/sweeper=lazy_gp", lr, *few, *words, f"output_dir={tmp_path}", *options]
    assert command(line) == 0
    results = yaml.safe_load((tmp_path / "search" / "optimization_results.yaml").read_text())
    assert results["direction"] == "smaller" and results["points"] == 2
    recorded = [
        record["scores"][results["score"]]
        for path in tmp_path.rglob("records.jsonl")
        for record in read_records(path)[-1:]
    ]
    assert len(recorded) == 2 and results["best_evaluated_result"] == min(recorded)


SEARCHES = [
    words for words in commands("python", "train.py") if any("hydra/sweeper=" in w for w in words)
]


@pytest.mark.parametrize("words", SEARCHES, ids=" ".join)
def test_every_documented_search_begins(words, tmp_path):
    """As it stands, with one tiny run."""
    if "hydra/sweeper=optuna" in words:
        pytest.importorskip("optuna")
    cut = ("hydra.sweeper.n_trials", "hydra.sweeper.seeds", "sweep_name", "hydra/launcher")
    kept = [word for word in words if not word.startswith(cut) and "n_jobs" not in word]
    scored = ["monitor=quick", "monitor.num_real=200", "monitor.num_fake=50", "protocol=none"]
    small = [word for word in tiny((), tmp_path) if not word.startswith(("monitor", "protocol"))]
    options = ["hydra.sweeper.n_trials=1", f"hydra.sweep.dir={tmp_path}/search"]
    assert command([*kept, *small, *scored, *options]) == 0
    assert (tmp_path / "search" / "optimization_results.yaml").exists()
