import csv
import io
import json
import subprocess
import sys

import pytest
from fake_runs import (
    AVATARS,
    config,
    outputs,
    protocol,
    protocol_with_versions,
    record,
    write_run,
)
from rich.console import Console

from saddlepoint.leaderboard import command as leaderboard
from saddlepoint.leaderboard import published_figures, read, tables
from saddlepoint.leaderboard.flat import to_csv, to_markdown
from saddlepoint.leaderboard.html_page import to_html
from saddlepoint.leaderboard.rows import is_repetition
from saddlepoint.leaderboard.terminal import show
from saddlepoint.records.settings import HARMLESS


def one_table(*folders, best=False):
    (table,) = tables(read(folders).runs, best=best)
    return table


@pytest.fixture
def sweep(tmp_path):
    return outputs(tmp_path / "outputs")


# Reading


def test_a_torn_last_line_is_left_out_and_reported(tmp_path):
    write_run(tmp_path / "a", [record({"FID": 20.0}, 1000)], torn='{"schema": 1, "scores": {"FI')
    reading = read([tmp_path])
    assert reading.runs[0].length == 1000
    (problem,) = reading.problems
    assert "Line 2" in problem and "torn" in problem and str(tmp_path / "a") in problem


@pytest.mark.parametrize(
    "line",
    [
        '{"schema": 1}',
        "[1, 2]",
        "null",
        '{"schema": 99, "scores": {"FID": 1.0}}',
        json.dumps(record({"FID": 1.0}) | {"scores": {"FID": float("nan")}}),
        json.dumps(record({"FID": 1.0}) | {"scores": {"FID": "1.0"}}),
        json.dumps(record({"FID": 1.0}) | {"scores": {"FID": True}}),
        json.dumps(record({"FID": 1.0}) | {"run": None}),
        json.dumps(record({"FID": 1.0}) | {"protocol": "fid10k"}),
        json.dumps(record({"FID": 1.0}) | {"iteration": "many"}),
        "\x00\xff",
    ],
)
def test_a_garbled_record_is_left_out_and_reported(tmp_path, line):
    write_run(tmp_path / "a", [record({"FID": 20.0}, 1000)], torn=line + "\n")
    reading = read([tmp_path])
    assert len(reading.problems) == 1
    assert one_table(tmp_path).rows[0].mean("FID") == 20.0


def paths_of(value, path=()):
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, (*path, key))


@pytest.mark.parametrize("junk", [None, [], {}, "x", -1, 0, 1e300, 1e-300, True, [[{}]]], ids=repr)
def test_no_value_in_a_record_can_end_the_leaderboard(tmp_path, junk):
    good = record(
        {"FID": 20.0},
        by_evaluation_seed={"FID": [19.0, 21.0]},
        baselines={"real": {"FID": 3.0}},
        parameters={"generator": 1000},
    )
    for number, path in enumerate(paths_of(good)):
        line = json.loads(json.dumps(good))
        inner = line
        for key in path[:-1]:
            inner = inner[key]
        if path:
            inner[path[-1]] = junk
        write_run(tmp_path / str(number), [record({"FID": 25.0}, 500), line if path else junk])
    reading = read([tmp_path])
    found = tables(reading.runs, published_figures())
    for text in (to_csv(found), to_markdown(found), to_html(found, (), reading.problems)):
        assert text
    show(found, published_figures(), Console(file=io.StringIO()))


def test_of_a_repeated_iteration_the_later_line_counts(tmp_path):
    lines = ((90, 1000), (70, 2000), (60, 2000), (50, 1000))
    write_run(tmp_path / "a", [record({"FID": fid}, iteration) for fid, iteration in lines])
    (points,) = read([tmp_path]).runs[0].points.values()
    assert [(p.iteration, p.scores["FID"].mean) for p in points] == [(1000, 50), (2000, 60)]


def test_a_file_that_several_paths_lead_to_is_read_once(tmp_path):
    write_run(tmp_path / "x" / "a", [record({"FID": 20.0})])
    paths = [tmp_path, tmp_path / "x", tmp_path / "x" / "a" / "records.jsonl"]
    assert len(read(paths).runs) == 1


def test_images_from_elsewhere_enter_by_their_title(tmp_path):
    lines = []
    for title, fid in (("theirs", 12.0), ("others", 13.0)):
        line = record({"FID": fid}, 0)
        line["run"] = {"title": title}
        line |= {"kimg": None, "seconds": None, "hardware": None, "commit": None}
        lines.append(line)
    write_run(tmp_path / "a", lines)
    write_run(tmp_path / "b", [record({"FID": 14.0})])
    table = one_table(tmp_path)
    assert [row.run.method for row in table.rows] == ["theirs", "others", "sngan"]
    assert "theirs" in to_csv([table]) and "theirs" in to_html([table])


# Grouping and ranking


def test_two_protocols_never_share_a_ranking(sweep):
    found = tables(read([sweep]).runs)
    assert [(t.dataset, t.score, t.protocol_name) for t in found] == [
        ("avatars", "FD/avatars", None),
        ("cifar10", "FID", "mimicry_50k"),
        ("cifar10", "FID", "fid10k"),
    ]
    for table in found:
        points = [entry.point for row in table.rows for entry in row.entries]
        assert {point.fingerprint for point in points} == {table.fingerprint}
        assert all(point.protocol == table.protocol for point in points)
        means = [row.mean(table.score) for row in table.rows]
        assert len(table.blocks) == 1 and means == sorted(means)
    assert found[1].differs == {"num_real": 50_000, "num_fake": 50_000}


@pytest.mark.parametrize(
    "change",
    [
        {"num_fake": 5000},
        {"generator": "ema"},
        {"dataset_digest": "another"},
        {"definition": 0},
    ],
)
def test_whatever_moves_a_score_makes_a_table_of_its_own(tmp_path, change):
    write_run(tmp_path / "a", [record({"FID": 20.0})])
    write_run(tmp_path / "b", [record({"FID": 10.0}, about=protocol(**change))])
    assert len(tables(read([tmp_path]).runs)) == 2


def test_versions_divide_no_table_but_those_of_records_whose_fingerprints_held_them(tmp_path):
    for name, torch in (("a", "2.11.0"), ("b", "2.12.0")):
        settings = config(method=name)
        versions = {"torch": torch}
        write_run(tmp_path / name, [record({"FID": 20.0}, config=settings, versions=versions)])
    (table,) = tables(read([tmp_path]).runs)
    assert len(table.rows) == 2 and table.mixed_versions == {"torch": ["2.11.0", "2.12.0"]}
    for name, torch in (("c", "2.11"), ("d", "2.12"), ("e", "2.12")):
        about = protocol_with_versions(torch)
        write_run(tmp_path / name, [record({"FID": 1.0}, config=config(method=name), about=about)])
    found = tables(read([tmp_path]).runs)
    assert sorted(len(table.rows) for table in found) == [1, 2, 2]
    assert {table.differs.get("versions.torch") for table in found} == {None, "2.11", "2.12"}


def test_a_forged_fingerprint_brings_no_protocols_together(tmp_path):
    meaning, _ = protocol(num_fake=5000)
    write_run(tmp_path / "a", [record({"FID": 20.0})])
    write_run(tmp_path / "b", [record({"FID": 10.0}, about=(meaning, protocol()[1]))])
    assert len(tables(read([tmp_path]).runs)) == 2


def test_fid_and_fd_of_one_record_are_ranked_apart(tmp_path):
    write_run(tmp_path / "a", [record({"FID": 20.0, "FD/dinov2": 300.0, "IS": 8.0})])
    first, second = tables(read([tmp_path]).runs)
    assert (first.score, second.score) == ("FID", "FD/dinov2")
    assert first.other_scores == second.other_scores == ["IS"]


def test_scores_without_a_frechet_distance_rank_in_their_own_direction(tmp_path):
    for name, modes in (("a", 21), ("b", 25)):
        write_run(tmp_path / name, [record({"modes": modes}, config=config(name))])
    assert [row.run.method for row in one_table(tmp_path).rows] == ["b", "a"]


def test_runs_equal_but_for_seed_and_paths_are_one_row(tmp_path):
    for seed, fid in enumerate((10.0, 12.0, 14.0)):
        settings = config(seed=seed) | {"output_dir": f"there/{seed}", "sample_every": 10 + seed}
        write_run(tmp_path / str(seed), [record({"FID": fid}, config=settings)])
    (row,) = one_table(tmp_path).rows
    assert row.mean("FID") == 12.0
    assert row.training_spread("FID") == pytest.approx(2.0)  # n - 1
    assert row.evaluation_spread("FID") is None


def test_settings_that_change_training_make_rows_and_name_themselves(tmp_path):
    for name, n_dis in (("a", 1), ("b", 5)):
        settings = config(iterations=1000 * n_dis)
        settings["gan"]["n_dis"] = n_dis
        write_run(tmp_path / name, [record({"FID": 10.0 + n_dis}, config=settings)])
    rows = one_table(tmp_path).rows
    # gan.iterations follows iterations and is not named beside it.
    assert [row.settings for row in rows] == [
        {"iterations": 1000, "gan.n_dis": 1},
        {"iterations": 5000, "gan.n_dis": 5},
    ]


def test_a_condition_is_named_even_of_a_row_that_stands_alone(tmp_path):
    asked = config(condition={"_target_": "conditions.Classes.of_data", "frequencies": "data"})
    line = record({"FID": 5.0}, config=asked)
    line["run"]["condition"] = "classes"
    write_run(tmp_path / "asked", [line])
    assert [row.settings for row in one_table(tmp_path).rows] == [{"condition": "classes"}]
    write_run(tmp_path / "free", [record({"FID": 10.0}, config=config())])
    told = {"condition": "classes", "condition.frequencies": "data"}
    assert [row.settings for row in one_table(tmp_path).rows] == [told, {}]


def test_spreads_over_training_and_evaluation_seeds_are_kept_apart(tmp_path):
    for seed, (fid, noise) in enumerate(((10.0, 0.3), (12.0, 0.4))):
        by_seed = {"FID": [fid - noise, fid + noise]}
        line = record({"FID": fid}, config=config(seed=seed), by_evaluation_seed=by_seed)
        write_run(tmp_path / str(seed), [line])
    (row,) = one_table(tmp_path).rows
    assert row.mean("FID") == pytest.approx(11.0)
    assert row.training_spread("FID") == pytest.approx(2**0.5)
    assert row.evaluation_spread("FID") == pytest.approx(((0.3**2 + 0.4**2) / 2) ** 0.5)
    assert row.evaluation_seeds("FID") == 2
    text = to_markdown([one_table(tmp_path)])
    assert "± 1.41 (n=2)" in text and "± 0.35 (n=2)" in text


def test_a_run_that_is_behind_is_named_and_not_averaged(tmp_path):
    for seed, iteration in ((0, 100_000), (1, 100_000), (2, 40_000)):
        line = record({"FID": 10.0 + 30 * (seed == 2)}, iteration, config=config(seed=seed))
        write_run(tmp_path / str(seed), [line])
    table = one_table(tmp_path)
    assert table.rows[0].mean("FID") == 10.0
    assert [entry.run.seed for entry in table.rows[0].behind] == [2]
    assert "seed 2 at 12,800 kimg" in to_csv([table])


def test_a_copied_run_does_not_count_twice(tmp_path):
    for name in ("a", "b"):
        write_run(tmp_path / name, [record({"FID": 10.0})])
    write_run(tmp_path / "c", [record({"FID": 12.0}, config=config(seed=1))])
    (row,) = one_table(tmp_path).rows
    assert (len(row.entries), len(row.repeats), row.mean("FID")) == (2, 1, 11.0)


def test_the_last_record_counts_unless_the_best_is_asked_for(tmp_path):
    records = [record({"FID": fid, "IS": fid}, i) for fid, i in ((30, 100), (10, 200), (20, 300))]
    write_run(tmp_path / "a", records)
    assert one_table(tmp_path).rows[0].mean("FID") == 20
    best = one_table(tmp_path, best=True)
    assert best.rows[0].mean("FID") == best.rows[0].mean("IS") == 10
    for text in (to_csv([best]), to_markdown([best]), to_html([best])):
        assert "best over training" in text


def test_what_resuming_allows_to_change_does_not_split_a_row():
    assert all(is_repetition(key) for key in (*HARMLESS, "seed", "trainer.devices"))
    assert not is_repetition("gan.n_dis")


# Published figures


def test_published_figures_stand_beside_their_protocol_without_a_rank(sweep):
    found = tables(read([sweep]).runs, published_figures())
    full, cheap = (t for t in found if t.dataset == "cifar10")
    assert [f.method for f in full.published][:2] == ["cGAN-PD", "SSGAN"]
    assert all(f.protocol == "mimicry_50k" for f in full.published)
    assert not cheap.published
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    published = [row for row in rows if row["kind"] == "published"]
    assert published and all(not row["first_place"] and row["citation"] for row in published)
    measured = [row for row in rows if row["protocol"] == "mimicry_50k" and row["first_place"]]
    assert len(measured) == 5 and {row["kind"] for row in measured} == {"measured"}


def test_published_figures_are_those_of_the_sources():
    found = {(f.dataset, f.method, f.protocol): f for f in published_figures()}
    assert len(found) == len(published_figures())
    fid = found["cifar10", "SNGAN", "mimicry_50k"].scores["FID"]
    assert (fid.mean, fid.spread) == (16.77, 0.04)
    assert found["cifar100", "MS-GAN", "tntrung_10k5k"].scores["FID"].mean == 19.74
    assert found["stl10", "MS-GAN", "tntrung_10k5k"].unverified
    assert all(f.citation and (f.unverified or f.scores) for f in found.values())


def test_published_figures_of_another_resolution_stay_away(tmp_path):
    for size, expected in ((48, 4), (96, 0)):
        data = {"name": "stl10", "shape": [3, size, size]}
        about = protocol("stl10", name="mimicry_50k")
        write_run(tmp_path / str(size), [record({"FID": 40.0}, data=data, about=about)])
        (table,) = tables(read([tmp_path / str(size)]).runs, published_figures())
        assert len(table.published) == expected


# The command


def test_the_command_prints_and_writes(sweep, tmp_path, capsys):
    files = {name: tmp_path / f"board.{name}" for name in ("html", "csv", "markdown")}
    options = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    assert leaderboard.main([str(sweep), *options]) == 0
    shown = capsys.readouterr()
    assert "mimicry_50k" in shown.out and "torn" in shown.err
    for published in ("cited", "Tran et al. 2018", "unverified"):
        assert published in shown.out
    assert all(path.stat().st_size > 1000 for path in files.values())


def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path, capsys):
    write_run(tmp_path / "empty", [])
    write_run(tmp_path / "good" / "a", [record({"FID": 1.0}, data=AVATARS)])
    for arguments, cause in (
        ([str(tmp_path / "missing")], "missing"),
        ([str(tmp_path / "empty")], "no record"),
        ([str(tmp_path / "good"), "--html", str(tmp_path / "no" / "x.html")], "cannot be written"),
    ):
        assert leaderboard.main(arguments) == 2
        message = capsys.readouterr().err
        assert message.startswith("error: ") and cause in message and message.count("\n") == 1


def test_the_leaderboard_needs_no_torch(tmp_path):
    write_run(tmp_path / "a", [record({"FID": 1.0})])
    code = (
        "import sys; from saddlepoint.leaderboard.command import main;"
        " main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr


def test_the_table_goes_to_wandb_offline(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    write_run(tmp_path / "runs" / "a", [record({"FID": 1.0})])
    assert leaderboard.main(["runs", "--wandb", "boards"]) == 0
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/table/leaderboard_*.table.json"))


def test_control_characters_of_a_name_do_not_reach_a_terminal(tmp_path, capsys):
    settings = config("a\x1b[31mb\u202ec")
    write_run(tmp_path / "a", [record({"FID": 9.0}, config=settings)])
    assert leaderboard.main([str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown and "\u202e" not in shown
