"""Spaces, and studies that suggest points in them: resumed, interrupted, failed, exhausted."""

import json
import math

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from saddlepoint.errors import UserError
from saddlepoint.records.objective import first_score
from saddlepoint.search.acquisition import log_expected_improvement
from saddlepoint.search.lazy_study import FILE_NAME, LazyStudy
from saddlepoint.search.picture import draw
from saddlepoint.search.space import Choice, Interval, Space, Steps
from saddlepoint.search.study import TRIES, Search
from saddlepoint.search.sweep_syntax import split
from saddlepoint.search.trial import COMPLETE, FAILED, INTERRUPTED, RUNNING

SPACE = Space(
    (
        Interval("lr", 1e-4, 1e-1, log=True),
        Interval("beta", 0.0, 1.0),
        Interval("steps", 1, 5, whole=True),
        Choice("loss", ("hinge", "minimax", "wasserstein")),
        Steps("width", ("16", "32", "48")),
    )
)
PLANE = Space((Interval("x", -1.0, 1.0), Interval("y", 0.0, 5.0)))


def parsed(*words):
    return split(OverridesParser.create().parse_overrides(list(words)))


def test_hydras_sweep_syntax_is_a_space():
    space, fixed = parsed(
        "gan=sngan",
        "lr=tag(log,interval(1e-4,1e-1))",
        "beta=interval(0.0,1.0)",
        "steps=int(interval(1,5))",
        "loss=choice(hinge,minimax,wasserstein)",
        "width=range(16,49,16)",
        "+new=1",
    )
    assert space == Space(tuple(sorted(SPACE.parameters, key=lambda one: one.key)))
    assert fixed == ["gan=sngan", "+new=1"]
    assert parsed("a=tag(log,int(interval(1,5)))")[0].parameters == (
        Interval("a", 1, 5, log=True, whole=True),
    )
    assert parsed("a=1,2", "a=x,'y z'")[0].parameters == (Choice("a", ("x", "'y z'")),)
    assert parsed("a=range(1.0,0.2,-0.25)")[0].parameters == (
        Steps("a", ("0.25", "0.5", "0.75", "1.0")),
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["a=1"], "Nothing is searched"),
        (["a=interval(2.0,1.0)"], "a has no interval from 2.0 to 1.0"),
        (["a=tag(log,interval(0.0,1.0))"], "a has no logarithm at 0.0"),
        (["a=1,2,1"], "a has a value twice"),
    ],
)
def test_what_is_no_space_is_refused(words, sentence):
    with pytest.raises(UserError, match=sentence):
        parsed(*words)


def test_values_have_a_place_and_places_a_value():
    rng = np.random.default_rng(0)
    places = rng.uniform(size=(500, SPACE.columns))
    snapped = SPACE.snap(places)
    counts = {"steps": [], "loss": [], "width": []}
    for place, snap in zip(places, snapped, strict=True):
        values = SPACE.decode(place)
        assert SPACE.decode(snap) == values
        assert SPACE.encode(values) == pytest.approx(snap, abs=1e-5)
        assert 1e-4 <= values["lr"] <= 1e-1 and values["steps"] in range(1, 6)
        for key, seen in counts.items():
            seen.append(values[key])
    for seen in counts.values():  # all values get their share
        shares = [seen.count(value) / 500 for value in set(seen)]
        assert max(shares) < 2 * min(shares)
    assert SPACE.snap(snapped) == pytest.approx(snapped, abs=1e-12)
    assert SPACE.decode(np.zeros(7))["lr"] == 1e-4 and SPACE.decode(np.ones(7))["lr"] == 1e-1
    assert SPACE.points == math.inf
    assert Space(SPACE.parameters[2:]).points == 5 * 3 * 3
    assert SPACE.is_continuous.tolist() == [True, True] + [False] * 5
    one, other = (
        SPACE.encode({**SPACE.decode(np.ones(7)), "loss": x}) for x in ("hinge", "minimax")
    )
    assert np.linalg.norm(one - other) == pytest.approx(1.0)


def test_an_objective_is_the_first_value_that_is_a_score():
    scores = {"IS_std": 0.1, "IS": 5.0, "FID": 9.0}
    found = first_score(scores, {"IS": "larger", "FID": "smaller"})
    assert (found, found.name, found.direction) == (5.0, "IS", "larger")
    assert first_score({"IS_std": 0.1}, {}) is None


def bowl(values):
    return (values["x"] - 0.3) ** 2 + (values["y"] - 2.0) ** 2 / 4


def search(folder, space=PLANE, **options):
    return Search(space, folder=folder, **{"direction": "smaller", **options})


def lazy(folder, space=PLANE, n_init=5, about=None, **options):
    acquisition = log_expected_improvement()
    return LazyStudy(
        search(folder, space, **(about or {})), n_init=n_init, acquisition=acquisition, **options
    )


def optuna_study(folder, space=PLANE, about=None, sampler="TPESampler", **options):
    optuna = pytest.importorskip("optuna")
    from saddlepoint.search.optuna_study import OptunaStudy

    make = getattr(optuna.samplers, sampler)
    return OptunaStudy(search(folder, space, **(about or {})), lambda s: make(seed=s), **options)


STUDIES = pytest.mark.parametrize("study", [lazy, optuna_study], ids=["lazy", "optuna"])


def play(study, count, score=bowl, at_once=1):
    """Try some points; one without a score fails."""
    asked = []
    while len(asked) < count and (trials := study.ask(min(at_once, count - len(asked)))):
        for trial in trials:
            value = score(trial.values)
            trial.fail("no luck") if value is None else trial.complete([value])
            study.tell(trial)
        asked += trials
    return [trial.values for trial in asked]


@STUDIES
def test_a_study_that_is_resumed_goes_on_as_if_it_had_not_stopped(study, tmp_path):
    whole = play(study(tmp_path / "whole"), 14)
    first = play(study(tmp_path / "parts"), 9)
    again = study(tmp_path / "parts")
    assert [trial.values for trial in again.trials] == first
    assert again.goal.direction == "smaller"
    assert first + play(again, 5) == whole
    assert len({tuple(values.items()) for values in whole}) == 14


@STUDIES
def test_points_that_were_running_are_tried_once_more(study, tmp_path):
    kept = study(tmp_path)
    play(kept, 7)
    (left,) = kept.ask(1)
    assert study(tmp_path).trials[-1].state == INTERRUPTED
    again = study(tmp_path)
    assert again.finished == 7
    (trial,) = again.ask(1)
    assert trial.values == left.values and trial.number > left.number
    assert again.trials[-1].state == RUNNING
    for _ in range(TRIES - 2):
        (trial,) = study(tmp_path).ask(1)
        assert trial.values == left.values
    last = study(tmp_path)
    assert last.trials[-1].state == FAILED and f"{TRIES} times" in last.trials[-1].sentence
    assert last.finished == 8
    assert last.ask(1)[0].values != left.values


@STUDIES
def test_points_that_were_stopped_may_be_stopped_as_often_as_one_likes(study, tmp_path):
    kept = study(tmp_path)
    play(kept, 3)
    (left,) = kept.ask(1)
    for _ in range(TRIES + 1):
        left.stop()
        kept.tell(left)
        kept = study(tmp_path)
        (again,) = kept.ask(1)
        assert again.values == left.values
        left = again
    assert study(tmp_path).trials[-1].state == INTERRUPTED


@STUDIES
def test_failed_points_are_kept_with_their_sentence_and_never_the_best(study, tmp_path):
    def fails_on_the_left(values):
        return None if values["x"] < 0 else bowl(values)

    play(study(tmp_path), 14, fails_on_the_left)
    again = study(tmp_path)
    failed = [trial for trial in again.trials if trial.state == FAILED]
    assert failed and all(t.sentence == "no luck" and t.values["x"] < 0 for t in failed)
    assert again.finished == 14 and again.best.state == COMPLETE
    assert again.best.score == min(t.score for t in again.trials if t.state == COMPLETE)
    draw(again, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


@STUDIES
def test_nothing_is_tried_twice_and_a_small_space_ends(study, tmp_path):
    small = Space((Choice("a", ("p", "q", "r")), Interval("b", 1, 3, whole=True)))
    tried = play(study(tmp_path, small), 12, lambda v: v["b"] + "pqr".index(v["a"]))
    assert len(tried) == len({tuple(v.items()) for v in tried})
    assert len(tried) == 9 if study is lazy else len(tried) >= 3
    draw(study(tmp_path, small), tmp_path / "picture.png")


@STUDIES
def test_larger_scores_are_better_where_they_say_so(study, tmp_path):
    kept = study(tmp_path, about={"direction": None})
    (trial,) = kept.ask(1)
    with pytest.raises(UserError, match="direction=minimize, or maximize"):
        kept.aim("", None)
    kept.aim("IS", "larger")
    with pytest.raises(UserError, match="the score FID, and others IS"):
        kept.aim("FID", "smaller")
    trial.complete([1.0])
    kept.tell(trial)
    play(kept, 15, lambda values: -bowl(values))
    again = study(tmp_path, about={"direction": None})
    assert (again.goal.name, again.goal.direction) == ("IS", "larger")
    again.aim("", None)  # a stored score may not know it
    assert again.best.score == max(trial.score for trial in again.trials)
    with pytest.raises(UserError, match="compared the other way round"):
        study(tmp_path, about={"direction": "smaller"})


@STUDIES
def test_the_spread_over_seeds_counts_as_it_is_told_to(study, tmp_path):
    kept = study(tmp_path, about={"seeds": 2, "spread_weight": 1.0})
    calm, wild = kept.ask(2)
    calm.complete([2.0, 2.0])
    wild.complete([0.0, 3.0])
    for trial in (calm, wild):
        kept.tell(trial)
    again = study(tmp_path, about={"seeds": 2, "spread_weight": 1.0})
    assert again.best.number == calm.number
    assert again.trials[1].scores == [0.0, 3.0]
    assert again.trials[1].spread == pytest.approx(math.sqrt(4.5))
    assert again.trials[1].score == 1.5
    with pytest.raises(UserError, match=r"another number of seeds a point \(2; now 1\)"):
        study(tmp_path)


@STUDIES
def test_a_study_of_something_else_is_refused(study, tmp_path):
    play(study(tmp_path, about={"fixed": ("gan=sngan",)}), 2)
    with pytest.raises(UserError, match=r"another space \(x -1 to 1; y 0 to 5; now lr log 0.0001"):
        study(tmp_path, SPACE)
    with pytest.raises(UserError, match=r"another command line \(gan=sngan; now gan=gan\)"):
        study(tmp_path, about={"fixed": ("gan=gan",)})


@STUDIES
def test_where_and_how_runs_go_may_change(study, tmp_path):
    play(study(tmp_path, about={"fixed": ("a=1", "trainer=cpu", "b=2", "monitor=quick")}), 2)
    again = study(tmp_path, about={"fixed": ("b=2", "monitor=quick", "a=1", "output_dir=there")})
    assert again.finished == 2
    with pytest.raises(UserError, match="another command line"):
        study(tmp_path, about={"fixed": ("a=1", "b=2", "monitor=auto")})


def test_a_file_that_is_no_study_is_refused_and_left(tmp_path):
    (tmp_path / FILE_NAME).write_text('{"trials": [')
    with pytest.raises(UserError, match="is no study"):
        lazy(tmp_path)
    assert (tmp_path / FILE_NAME).read_text() == '{"trials": ['


@pytest.mark.parametrize("pending", ["believer", "worst", "mean", "best"])
def test_points_that_run_together_are_apart(pending, tmp_path):
    study = lazy(tmp_path, pending=pending)
    play(study, 8)
    lower = study.model.factor
    together = [PLANE.encode(trial.values) for trial in study.ask(4)]
    gaps = [np.abs(a - b).max() for i, a in enumerate(together) for b in together[:i]]
    assert min(gaps) > 0
    study.model.forget()
    assert study.model.rows == lower.rows == 8
    assert study.best.state == COMPLETE and study.finished == 8


@pytest.mark.parametrize("on_failure", ["impute_worst", "drop"])
def test_a_failed_point_is_as_bad_as_the_worst_or_unseen(on_failure, tmp_path):
    study = lazy(tmp_path, n_init=8, on_failure=on_failure)
    calls = iter(range(100))
    play(study, 8, lambda values: None if next(calls) in (0, 5) else bowl(values))
    study.learn()
    seen = study._to_see()
    targets = study._targets(seen)
    assert study.model.rows == len(seen) == (8 if on_failure == "impute_worst" else 6)
    if on_failure == "impute_worst":
        assert seen[0].state == COMPLETE  # nothing can be said of a failure before it
        failed = [t for trial, t in zip(seen, targets, strict=True) if trial.state == FAILED]
        scores = [trial.score for trial in seen if trial.state == COMPLETE]
        assert failed == [-max(scores)] * 2


def test_a_search_that_only_fails_goes_on_spreading_points(tmp_path):
    study = lazy(tmp_path, n_init=3)
    tried = play(study, 8, lambda values: None)
    assert len({tuple(values.items()) for values in tried}) == 8
    assert study.best is None
    draw(study, tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()


def test_logarithms_of_scores(tmp_path):
    study = lazy(tmp_path, log_score=True, about={"direction": "larger"})
    play(study, 7, lambda values: 1 + bowl(values))
    study.learn()
    assert study._targets(study._to_see()) == pytest.approx(
        [math.log(trial.score) for trial in study.trials]
    )
    with pytest.raises(UserError, match="has no logarithm"):
        play(study, 2, lambda values: -1.0)


def test_hyperparameters_are_learned_once(tmp_path):
    play(lazy(tmp_path), 12)
    kept = json.loads((tmp_path / FILE_NAME).read_text())["refits"]
    again = lazy(tmp_path)
    again.model.see = None
    assert sorted(map(int, kept)) == sorted(again.model.known)
    for rows, h in again.model.known.items():
        assert h.length_scales.tolist() == kept[str(rows)]["length_scales"]
    assert lazy(tmp_path, kernel="rbf").model.known == {}  # another kind of model


def test_lazy_and_full_suggest_the_same(tmp_path):
    """With the same hyper-parameters: only the factor is another, within rounding."""
    one, other = lazy(tmp_path / "lazy", noise=1e-3), lazy(tmp_path / "full", noise=1e-3)
    grow = other.model._append

    def anew(x):
        grow(x)
        other.model.factor.factorise(other.model._covariance(other.model.x))

    other.model._append = anew
    for mine, full in zip(play(one, 12), play(other, 12), strict=True):
        assert PLANE.encode(mine) == pytest.approx(PLANE.encode(full), abs=1e-2)
    assert other.model.factor.dense_factorisations > one.model.factor.dense_factorisations


def test_it_finds_the_bottom_of_a_bowl(tmp_path):
    """With a choice and whole numbers beside: within 30 points, to a hundredth."""
    space = Space((*PLANE.parameters, Choice("kind", ("a", "b")), Interval("n", 1, 4, whole=True)))
    study = lazy(tmp_path, space, n_init=10)
    play(study, 30, lambda v: bowl(v) + 0.3 * (v["kind"] == "b") + 0.2 * (v["n"] - 2) ** 2)
    assert study.best.score < 1e-2
    assert study.best.values["kind"] == "a" and study.best.values["n"] == 2


def test_optuna_prunes_nothing_and_keeps_attributes(tmp_path):
    study = optuna_study(tmp_path)
    play(study, 3, lambda values: None if values["x"] < 0 else bowl(values))
    import optuna

    assert isinstance(study._study.pruner, optuna.pruners.NopPruner)
    states = {trial.state for trial in study._study.get_trials()}
    assert states <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL}
    for trial in study._study.get_trials():
        name = "score" if trial.state == optuna.trial.TrialState.COMPLETE else "sentence"
        assert name in trial.user_attrs


def test_optuna_takes_all_kinds_of_parameters(tmp_path):
    for trial in play(optuna_study(tmp_path, SPACE, sampler="RandomSampler"), 8, lambda v: v["lr"]):
        assert SPACE.decode(SPACE.encode(trial))["width"] == trial["width"]
        assert trial["width"] in SPACE.parameters[-1].values
        assert trial["loss"] in SPACE.parameters[3].values
        assert isinstance(trial["steps"], int)
    steps = Space((Steps("s", ("0.5", "0.75", "1.0")),))
    assert {v["s"] for v in play(optuna_study(tmp_path / "s", steps), 3, lambda v: 0.0)} <= {
        "0.5",
        "0.75",
        "1.0",
    }
