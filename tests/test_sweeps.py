"""Sweeps: points that are found again, one list of them, bad ones that are one point each."""

import csv
import json

#: A game on points that takes moments, with a score every other iteration.
TINY = [
    *("datamodule=gaussians8", "datamodule.num_items=8000", "network=mlp", "gan=gan"),
    *("network.generator.width=8", "network.discriminator.width=8", "gan.n_dis=1"),
    *("batch_size=8", "iterations=6", "checkpoint_every=2", "score_every=2", "sample_every=1000"),
    *("gan.log_every=1", "trainer=cpu", "~callbacks.animation"),
]
GRID = ["seed=0,1,2", "gan.generator_optimizer.lr=0.001,0.002"]


def listed(folder):
    with (folder / "points.csv").open() as file:
        return {row.pop("point"): row for row in csv.DictReader(file)}


def states(folder):
    return {name: row["state"] for name, row in listed(folder).items()}


def records(folder):
    """Records of every point, without times."""
    found = {}
    for path in sorted(folder.glob("*/records.jsonl")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            for key in ("seconds", "time"):
                line.pop(key)
            for key in ("output_dir", "sweep_name"):
                line["run"]["config"].pop(key)
        found[path.parent.name] = lines
    return found
