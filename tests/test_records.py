"""Records on disk: what is written, what is read, and those of schema 1."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import config, protocol, record, write_run

from saddlepoint.leaderboard import read, tables
from saddlepoint.leaderboard.flat import to_csv
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import SCHEMA, append_record, cost

STORED = Path(__file__).with_name("schema1.jsonl")  # as a run wrote it before there was schema 2


def new_record(scores, directions, ranking, **changes):
    """A record of schema 2."""
    return record(scores, schema=2, directions=directions, ranking=ranking, **changes)


def test_torn_last_line_is_left_out_and_does_not_spoil_the_next(tmp_path, caplog):
    path = tmp_path / "runs" / "records.jsonl"
    assert read_records(path) == []
    first, second, third = (record({"FID": 1.0}, i, note="Fréchet\n") for i in (1, 2, 3))
    append_record(path, first)
    append_record(path, second)
    whole = path.read_bytes()
    for cut in range(whole.index(b"\n") + 1, len(whole) - 1, 7):
        path.write_bytes(whole[:cut])
        assert [r["iteration"] for r in read_records(path)] == [1]
    path.write_bytes(whole[:-5])
    assert [r["iteration"] for r in read_records(path)] == [1]
    assert "Line 2" in caplog.text
    append_record(path, third)
    assert [r["iteration"] for r in read_records(path)] == [1, 3]


def test_records_of_a_later_version_are_left_out(tmp_path, caplog):
    path = tmp_path / "records.jsonl"
    append_record(path, record({"FID": 1.0}, 1, schema=SCHEMA + 1))
    append_record(path, record({"FID": 1.0}, 2))
    assert [r["iteration"] for r in read_records(path)] == [2]
    assert "later version" in caplog.text


def test_a_record_is_strict_json(tmp_path):
    path = tmp_path / "records.jsonl"
    with pytest.raises(ValueError, match="JSON"):
        append_record(path, {"schema": SCHEMA, "scores": {"FID": math.nan}})
    assert not path.exists()
    append_record(path, {"schema": SCHEMA, "scores": {"FID": 1.5}})
    assert json.loads(path.read_text())["scores"]["FID"] == 1.5


def test_what_is_written_is_what_is_read(tmp_path):
    written = new_record(
        {"KID": 0.1, "KID_std": 0.2, "IS": 3.0}, {"KID": "smaller", "IS": "larger"}, ["KID"]
    )
    append_record(tmp_path / "records.jsonl", written)
    assert read_records(tmp_path / "records.jsonl") == [written]


@pytest.mark.parametrize(
    "change",
    [
        {"directions": {"FID": "sideways"}},
        {"directions": {"another": "smaller"}},
        {"directions": None},
        {"directions": ["FID"]},
        {"ranking": ["IS"]},
        {"ranking": [{}]},
        {"ranking": None},
        {"scores": {"FID": "1.0"}},
        {"scores": {"FID": None}},
        {"iteration": "many"},
        {"fingerprint": 7},
        {"protocol": {"dataset": 7}},
        {"run": None},
    ],
)
def test_a_garbled_record_is_left_out_whoever_reads(tmp_path, change, caplog):
    path = tmp_path / "records.jsonl"
    good = new_record({"FID": 20.0}, {"FID": "smaller"}, ["FID"])
    for line in (good | change, good):
        append_record(path, line)
    assert read_records(path) == [good]
    problems = []
    assert read_records(path, problems) == [good]
    assert caplog.messages == problems and len(problems) == 1 and "Line 1" in problems[0]


# Directions --------------------------------------------------------------------------------------


def test_a_new_score_ranks_in_the_direction_of_its_record(tmp_path):
    for name, value in (("a", 0.2), ("b", 0.9)):
        line = new_record(
            {"sharpness": value, "noise": value},
            {"sharpness": "larger", "noise": "smaller"},
            ["sharpness"],
            config=config(name),
        )
        write_run(tmp_path / name, [line])
    (table,) = tables(read([tmp_path]).runs)
    assert [row.run.method for row in table.rows] == ["b", "a"]
    assert (table.score, table.direction, table.other_scores) == ("sharpness", "larger", ["noise"])


def test_best_point_is_that_of_the_direction(tmp_path):
    lines = [
        new_record({"IS": value}, {"IS": "larger"}, ["IS"], iteration=i)
        for i, value in ((1, 5.0), (2, 9.0), (3, 7.0))
    ]
    write_run(tmp_path / "a", lines)
    (table,) = tables(read([tmp_path]).runs, best=True)
    assert table.rows[0].mean("IS") == 9.0
    assert [cost(line) for line in lines] == [-5.0, -9.0, -7.0]


def test_two_directions_of_one_name_share_no_table(tmp_path):
    for direction in ("smaller", "larger"):
        line = new_record({"x": 1.0}, {"x": direction}, ["x"], config=config(direction))
        write_run(tmp_path / direction, [line])
    assert {table.direction for table in tables(read([tmp_path]).runs)} == {"smaller", "larger"}


# Schema 1 ----------------------------------------------------------------------------------------


def test_a_stored_line_of_schema_1_is_read_grouped_and_shown(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "records.jsonl").write_text(STORED.read_text())
    (old,) = read_records(tmp_path / "run" / "records.jsonl")
    assert old["schema"] == SCHEMA
    assert old["directions"] == {
        "FD/avatar-classifier": "smaller",
        "density/avatar-classifier": "larger",
        "coverage/avatar-classifier": "larger",
    }
    assert old["ranking"] == ["FD/avatar-classifier"]
    reading = read([tmp_path])
    (table,) = tables(reading.runs)
    assert not reading.problems and table.score == "FD/avatar-classifier"
    assert table.other_scores == ["coverage/avatar-classifier", "density/avatar-classifier"]
    assert table.rows[0].mean(table.score) == pytest.approx(1211.35, abs=0.01)
    assert "sngan_lite" in to_csv([table])


def test_schemas_of_one_protocol_share_a_table(tmp_path):
    (old,) = [json.loads(line) for line in STORED.read_text().splitlines()]
    new = json.loads(json.dumps(old))
    new["run"]["config"]["seed"] = new["run"]["config"]["gan"]["seed"] = 1
    new |= {"schema": 2, "ranking": ["FD/avatar-classifier"]}
    new["directions"] = dict.fromkeys(new["scores"], "larger")
    new["directions"]["FD/avatar-classifier"] = "smaller"
    for name, line in (("old", old), ("new", new)):
        write_run(tmp_path / name, [line])
    (table,) = tables(read([tmp_path]).runs)
    (row,) = table.rows
    assert [entry.run.seed for entry in row.entries] == [0, 1]


@pytest.mark.parametrize(
    ("names", "ranking", "larger"),
    [
        (["IS", "FID", "FD/dinov2", "IS_std"], ["FID", "FD/dinov2"], ["IS"]),
        (["IS", "IS_std", "KID", "KID_std"], ["KID"], ["IS"]),
        (["KL", "modes", "high_quality"], ["modes"], ["modes", "high_quality"]),
        (["precision/x", "recall/x"], ["precision/x"], ["precision/x", "recall/x"]),
        (["KD_std/vgg16", "unheard of"], ["unheard of"], []),
    ],
)
def test_scores_of_schema_1_rank_as_they_did(tmp_path, names, ranking, larger):
    append_record(tmp_path / "records.jsonl", record(dict.fromkeys(names, 1.0)))
    (found,) = read_records(tmp_path / "records.jsonl")
    assert found["ranking"] == ranking
    assert [name for name in names if found["directions"].get(name) == "larger"] == larger
    spreads = {name for name in names if "_std" in name}
    assert set(found["directions"]) == set(names) - spreads


def test_the_name_of_monitor_in_schema_1_splits_no_row(tmp_path):
    for seed, protocol_while_training in enumerate(("quick", "fid10k")):
        settings = config(seed=seed) | {"metrics": {"name": protocol_while_training}}
        write_run(tmp_path / str(seed), [record({"FID": 1.0}, config=settings)])
    (table,) = tables(read([tmp_path]).runs)
    assert len(table.rows) == 1 and table.protocol == protocol()[0]


def test_records_need_neither_torch_nor_runs():
    code = (
        "import sys; from saddlepoint.records import first_schema, origin, reading, record;"
        " from saddlepoint.leaderboard import command;"
        " print([m for m in sys.modules if m == 'torch' or m.startswith('saddlepoint.runs')"
        " or m.startswith('saddlepoint.evaluation')])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert answer.stdout == "[]\n", answer.stderr
