import csv
import importlib.util

import pytest
from train_cli import QUICK, train_here

from saddlepoint.runs.loggers import CSVFile


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_new_columns_are_added_and_rows_of_one_iteration_joined(tmp_path):
    log = CSVFile(tmp_path / "metrics.csv")
    log.log_metrics({"loss": 1.0}, step=10)
    log.log_metrics({"FID": 5.0}, step=10)
    log.log_metrics({"loss": 0.5}, step=20)
    assert rows(tmp_path / "metrics.csv") == [
        {"iteration": "10", "loss": "1.0", "FID": "5.0"},
        {"iteration": "20", "loss": "0.5", "FID": ""},
    ]


def test_a_resumed_file_drops_what_is_repeated(tmp_path):
    log = CSVFile(tmp_path / "metrics.csv")
    for step in (10, 20, 30):
        log.log_metrics({"loss": step}, step=step)
    CSVFile(tmp_path / "metrics.csv", iteration=20).log_metrics({"loss": 0}, step=30)
    assert [row["loss"] for row in rows(tmp_path / "metrics.csv")] == ["10", "20", "0"]


def test_wandb_without_key_or_network_stays_offline(tmp_path, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    train_here([*QUICK, "logger=wandb", "iterations=2", f"output_dir={tmp_path}", "run_name=run"])
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


@pytest.mark.skipif(not importlib.util.find_spec("tensorboard"), reason="needs tensorboard")
def test_tensorboard_writes_its_events(tmp_path):
    train_here([*QUICK, "logger=tensorboard", f"output_dir={tmp_path}", "run_name=run"])
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
