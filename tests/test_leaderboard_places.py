"""What the numbers of a leaderboard allow to say."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
from fake_runs import config, protocol, record, write_run

from saddlepoint.errors import UserError
from saddlepoint.leaderboard import command, own_figures, published_figures, read, tables, text
from saddlepoint.leaderboard.baseline import pin
from saddlepoint.leaderboard.flat import to_csv, to_markdown
from saddlepoint.leaderboard.html_page import to_html
from saddlepoint.leaderboard.significance import Sample, difference, half_widths, told_apart


def runs_of(folder, method, scores, iteration=100_000, iterations=100_000, **changes):
    """One run a seed, with these scores at one iteration."""
    for seed, fid in enumerate(scores):
        settings = config(method, seed=seed, iterations=iterations)
        line = record({"FID": fid}, iteration, config=settings, **changes)
        write_run(folder / f"{method}-{seed}", [line])


def board(folder, **options):
    (table,) = tables(read([folder]).runs, **options)
    return table


def sample_of(values):
    values = np.asarray(values)
    spread = values.std(ddof=1) if len(values) > 1 else None
    return Sample(len(values), values.mean(), spread)


# The test


def test_intervals_and_decisions_are_scipys():
    draws = np.random.default_rng(0)
    sets = [draws.normal(mean, 1.0 + n / 4, n) for mean, n in ((0, 2), (1, 4), (6, 9), (60, 5))]
    samples = [sample_of(values) for values in sets]
    p = []
    for i, a in enumerate(sets):
        for j, b in enumerate(sets[:i]):
            result = scipy.stats.ttest_ind(a, b, equal_var=False)
            expected = result.confidence_interval()
            assert difference(samples[i], samples[j]).interval == pytest.approx(
                (expected.low, expected.high), rel=1e-9
            )
            p.append(result.pvalue)
    kept = scipy.stats.false_discovery_control(p) <= 0.05
    found = told_apart(samples)
    assert found[np.tril_indices(4, -1)].tolist() == kept.tolist() and (found == found.T).all()
    assert 0 < kept.sum() < len(kept)


def test_one_seed_tells_nothing_apart_and_no_spread_everything():
    assert not told_apart([sample_of([1.0]), sample_of([9.0, 9.1]), sample_of([500.0])]).any()
    assert np.isnan(half_widths([sample_of([1.0]), sample_of([9.0, 9.1])])).sum() == 3
    assert told_apart([sample_of([24, 24]), sample_of([25, 25])])[0, 1]
    assert not told_apart([sample_of([25, 25]), sample_of([25, 25])]).any()


# Places


def test_rows_that_the_spread_does_not_separate_share_their_places(tmp_path):
    runs_of(tmp_path, "wide", (674.9 - 133.5 / 2**0.5, 674.9 + 133.5 / 2**0.5))
    runs_of(tmp_path, "narrow", (729.7 - 55.8 / 2**0.5, 729.7 + 55.8 / 2**0.5))
    runs_of(tmp_path, "far", (5000.0, 5001.0, 5002.0, 5003.0))
    runs_of(tmp_path, "near", (5.0, 5.1, 5.2))
    table = board(tmp_path)
    assert [row.run.method for row in table.rows] == ["near", "wide", "narrow", "far"]
    # Two seeds of each are too few to tell the wide and the narrow one even from the near one.
    assert [row.places for row in table.rows] == [(1, 3), (1, 3), (1, 3), (4, 4)]
    shown = to_markdown([table])
    assert "± 133.50 (n=2)" in shown and "Welch's t-test" in shown


def test_equal_scores_and_single_seeds_leave_all_places_open(tmp_path):
    for method, fid in (("a", 10.0), ("b", 10.0), ("c", 11.0)):
        runs_of(tmp_path, method, (fid,))
    table = board(tmp_path)
    assert [row.places for row in table.rows] == [(1, 3)] * 3
    assert {text.training_spread(row, "FID") for row in table.rows} == {"n=1"}


def test_only_rows_of_equal_budget_are_ordered(tmp_path):
    runs_of(tmp_path, "short", (5.0, 5.1, 5.2), iteration=5_000, iterations=5_000)
    runs_of(tmp_path, "long", (9.0, 9.1, 9.2))
    runs_of(tmp_path, "longer", (19.0, 19.1, 19.2), iteration=101_000, iterations=101_000)
    table = board(tmp_path)
    blocks = [[row.run.method for row in block.rows] for block in table.blocks]
    assert blocks == [["long", "longer"], ["short"]]
    assert [row.places for row in table.rows] == [(1, 1), (2, 2), None]
    assert "1,600 kimg, alone at this budget" in to_markdown([table])
    assert [len(block.rows) for block in board(tmp_path, budget="iterations").blocks] == [1, 1, 1]
    (block,) = board(tmp_path, budget="any").blocks
    assert [row.places for row in block.rows] == [(1, 1), (2, 2), (3, 3)]


def test_hours_are_a_budget_on_equal_hardware_alone(tmp_path):
    cpu = {"hardware": {"device": "cpu", "devices": 1, "cores": 2}}
    runs_of(tmp_path, "a", (9.0,), seconds=3600.0)
    runs_of(tmp_path, "b", (8.0,), seconds=3700.0)
    runs_of(tmp_path, "c", (7.0,), seconds=3600.0, **cpu)
    table = board(tmp_path, budget="hours")
    assert [[row.run.method for row in b.rows] for b in table.blocks] == [["b", "a"], ["c"]]
    assert text.budget(table.blocks[0]) == "1:00 h–1:02 h on NVIDIA H200"


def test_a_run_that_is_not_over_has_no_place_and_comes_last(tmp_path):
    runs_of(tmp_path, "running", (1.0, 1.1), iteration=40_000)
    runs_of(tmp_path, "done", (9.0, 9.5))
    runs_of(tmp_path, "good", (8.0, 8.5))
    table = board(tmp_path)
    assert [row.run.method for row in table.rows] == ["good", "done", "running"]
    assert table.rows[-1].places is None and not table.blocks[-1].is_over
    for shown in (to_markdown([table]), to_csv([table]), to_html([table])):
        assert "training not over" in shown


def test_a_finished_run_at_its_best_point_is_over(tmp_path):
    for method, offset in (("a", 0.0), ("b", 1.0)):
        lines = [
            record({"FID": fid + offset}, i, config=config(method))
            for i, fid in ((50_000, 5.0), (100_000, 9.0))
        ]
        write_run(tmp_path / method, lines)
    table = board(tmp_path, best=True)
    (block,) = table.blocks
    assert block.is_over and [row.mean("FID") for row in block.rows] == [5.0, 6.0]
    assert text.budget(block) == "32,000 kimg"


# Baseline


def test_differences_to_a_baseline_have_welchs_interval(tmp_path):
    sets = {"base": (10.0, 11.0, 12.0), "better": (7.0, 7.5, 9.0), "single": (30.0,)}
    for method, scores in sets.items():
        runs_of(tmp_path, method, scores)
    runs_of(tmp_path, "elsewhere", (1.0, 2.0), iteration=10_000, iterations=10_000)
    table = board(tmp_path)
    pin([table], "base")
    found = {row.run.method: row.against for row in table.rows}
    welch = scipy.stats.ttest_ind(sets["better"], sets["base"], equal_var=False)
    assert found["better"].interval == pytest.approx(tuple(welch.confidence_interval()))
    assert found["single"].value == 19.0 and found["single"].interval is None
    assert found["base"] is None and found["elsewhere"] is None  # of another budget
    line = next(csv.DictReader(io.StringIO(to_csv([table]))))
    assert float(line["difference_low"]) == pytest.approx(welch.confidence_interval().low)
    assert "(n=1: no interval)" in to_markdown([table])


def test_a_baseline_that_is_none_or_several_is_refused(tmp_path):
    for n_dis in (1, 2):
        settings = config()
        settings["gan"]["n_dis"] = n_dis
        write_run(tmp_path / f"run{n_dis}", [record({"FID": 9.0}, config=settings)])
    found = [board(tmp_path)]
    with pytest.raises(UserError, match="no row 'dcgan'.*sngan"):
        pin(found, "dcgan")
    with pytest.raises(UserError, match="several rows"):
        pin(found, "sngan")
    pin(found, "run2")
    assert found[0].baseline.run.settings["gan.n_dis"] == 2


# Beside the rows


def test_ema_and_raw_weights_of_the_same_runs_stand_side_by_side(tmp_path):
    for method, fid in (("a", 10.0), ("b", 20.0)):
        lines = [
            record({"FID": fid + shift}, about=protocol(generator=weights), config=config(method))
            for weights, shift in (("ema", 0.0), ("raw", 5.0))
            if (method, weights) != ("b", "ema")
        ]
        write_run(tmp_path / method, lines)
    by_weights = {t.protocol["generator"]: t for t in tables(read([tmp_path]).runs)}
    assert by_weights["ema"].twins == {by_weights["ema"].rows[0].key: 15.0}
    assert [row.run.method for row in by_weights["raw"].rows] == ["a", "b"]
    assert list(by_weights["raw"].twins.values()) == [10.0]
    assert "| raw weights |" in to_markdown([by_weights["ema"]])
    assert "EMA weights" in to_html([by_weights["raw"]])


def test_real_images_and_parameters_are_references(tmp_path):
    about = {"baselines": {"real": {"FID": 2.5}}, "parameters": {"generator": 812_345, "critic": 9}}
    runs_of(tmp_path, "a", (9.0,), **about)
    table = board(tmp_path)
    assert table.references == {"real": {"FID": 2.5}} and table.rows[0].places is None
    shown = to_markdown([table])
    assert "| ref | real |" in shown and "G 812 k C 9" in shown
    assert ">real<" in to_html([table])
    kinds = [row["kind"] for row in csv.DictReader(io.StringIO(to_csv([table])))]
    assert kinds == ["measured", "reference"]


def test_the_file_that_the_docs_show_is_read(tmp_path):
    page = (Path(__file__).parent.parent / "docs" / "leaderboard.md").read_text()
    (shown,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "rivals.yaml").write_text(shown)
    first, second = own_figures(tmp_path / "rivals.yaml")
    assert (first.scores["FID"].spread, first.protocol) == (0.4, "mimicry_50k")
    assert (second.resolution, second.protocol, second.note) == (48, "fid10k", "quoted")


OWN = """
rival:
  short: Rival 2025
  citation: A. Rival. A Method. 2025.
  protocol: mimicry_50k
  plus_minus: standard deviation over 3 training seeds
  figures:
    - {dataset: cifar10, method: RivalGAN, FID: [12.3, 0.4]}
"""


def test_figures_of_ones_own_are_cited_beside_published_ones(tmp_path, capsys):
    runs_of(tmp_path / "runs", "a", (9.0,), about=protocol(name="mimicry_50k"))
    (tmp_path / "own.yaml").write_text(OWN)
    arguments = [str(tmp_path / "runs"), "--cite", str(tmp_path / "own.yaml")]
    assert command.main(arguments) == 0
    shown = capsys.readouterr().out
    assert "RivalGAN" in shown and "A. Rival. A Method. 2025." in shown and "SSGAN" in shown
    (figure,) = own_figures(tmp_path / "own.yaml")
    assert figure not in published_figures() and figure.scores["FID"].spread == 0.4


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("a: [", "no YAML in line 1"),
        ("", "laid out wrongly"),
        ("a: {short: x, citation: y, protocol: z}", "laid out wrongly"),
        (OWN.replace("[12.3, 0.4]", "low"), "'low' is no score"),
        (OWN.replace("dataset: cifar10, ", ""), "laid out wrongly"),
    ],
)
def test_a_file_of_figures_that_is_none_is_one_sentence(tmp_path, capsys, content, cause):
    runs_of(tmp_path / "runs", "a", (9.0,))
    (tmp_path / "own.yaml").write_text(content)
    assert command.main([str(tmp_path / "runs"), "--cite", str(tmp_path / "own.yaml")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ") and cause in message and message.count("\n") == 1


def test_on_a_narrow_terminal_whole_columns_go_and_no_word_is_cut(tmp_path):
    from rich.console import Console

    from saddlepoint.leaderboard.terminal import show

    runs_of(tmp_path, "infomax_gan", (9.0, 9.5))
    runs_of(tmp_path, "latent_conditioned", (8.0, 8.5))
    console = Console(file=io.StringIO(), width=80)
    show([board(tmp_path)], (), console)
    shown = console.file.getvalue()
    assert "latent_conditioned" in shown and "no room for commit" in shown
    assert max(map(len, shown.splitlines())) <= 80
