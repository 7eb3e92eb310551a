"""Folders as runs leave them, with made-up scores."""

import json
import math
import random
from pathlib import Path

from PIL import Image

from saddlepoint.evaluation.protocol import Protocol
from saddlepoint.fingerprint import fingerprint

CIFAR10 = {"name": "cifar10", "shape": [3, 32, 32], "classes": list("abcdefghij"), "digest": "c1f"}
AVATARS = {"name": "avatars", "shape": [3, 32, 32], "classes": ["man", "woman"], "digest": "a7a"}


def protocol(dataset="cifar10", name=None, **changes):
    values = {
        "dataset": dataset,
        "dataset_digest": "c1f",
        "num_real": 50_000,
        "num_fake": 50_000,
        "extractor": "inception-v3-compat",
        "extractor_hash": "abc",
        "resize": "bilinear to 299x299",
        "quantisation": "round(clamp((x + 1) / 2, 0, 1) * 255)",
        "scores": {"fid": {}},
        "seeds": (0,),
        "generator": "raw",
    }
    about = Protocol(**(values | changes))
    return {**about.as_dict(), "name": name}, about.fingerprint


def protocol_with_versions(torch="2.11"):
    """As records had it whose fingerprints held versions."""
    meaning, _ = protocol()
    meaning.pop("definition")
    meaning["versions"] = {"evaluation": "2", "torch": torch, "torch-fidelity": "0.4.0"}
    return meaning, fingerprint({k: v for k, v in meaning.items() if k != "name"})


def config(method="sngan", terms=(), seed=0, iterations=100_000, **settings):
    return {
        "method": method,
        "terms": {term: {"_target_": f"losses.{term}", "generator_weight": 0.2} for term in terms},
        "seed": seed,
        "iterations": iterations,
        "batch_size": 64,
        "output_dir": "outputs",
        "sample_every": 1000,
        "datamodule": {"root": "data", "flip": False},
        "gan": {"seed": seed, "iterations": iterations, "n_dis": 5, "lr_schedule": "linear"},
        **settings,
    }


def record(scores, iteration=100_000, data=CIFAR10, about=None, **changes):
    settings = changes.pop("config", config())
    meaning, mark = about or protocol()
    title = "+".join([f"{data['name']}-{settings['method']}", *settings["terms"]])
    return {
        "schema": 1,
        "scores": scores,
        "protocol": meaning,
        "fingerprint": mark,
        "iteration": iteration,
        "kimg": iteration * 0.32,
        "seconds": iteration * 0.06,
        "run": {"title": title, "config": settings, "data": data},
        "hardware": {"device": "NVIDIA H200", "devices": 1, "cpu": "some cpu", "cores": 16},
        "versions": {"python": "3.11.2", "torch": "2.11.0"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
        "time": "2026-01-02T03:04:05+00:00",
        **changes,
    }


def write_run(folder: Path, records, command="python train.py", torn="", picture=None):
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(line) + "\n" for line in records)
    (folder / "records.jsonl").write_text(lines + torn)
    (folder / "command.txt").write_text(command + "\n")
    if picture is not None:
        (folder / "samples").mkdir(exist_ok=True)
        picture.save(folder / "samples" / "final.png")
    return folder


def grid(colour, size=132):
    image = Image.new("RGB", (size, size), "white")
    for i in range(4):
        for j in range(4):
            shade = tuple(min(255, c + 11 * i + 7 * j) for c in colour)
            image.paste(shade, (2 + 32 * i, 2 + 32 * j, 32 + 32 * i, 32 + 32 * j))
    return image


def outputs(folder: Path, step=5000):
    """A sweep: two protocols on CIFAR-10, another extractor on avatars, one run going on."""
    cheap = protocol(name="fid10k", num_real=10_000, num_fake=10_000)
    full = protocol(name="mimicry_50k")
    methods = {
        ("sngan", ()): 16.9,
        ("ssgan", ("rotation",)): 14.8,
        ("infomax_gan", ("infomax",)): 15.2,
        ("sngan", ("rotation", "infomax")): 14.1,
        ("wgan_gp", ("gradient_penalty",)): 22.4,
    }
    for number, ((method, terms), goal) in enumerate(methods.items()):
        for seed in range(2 if method == "wgan_gp" else 3):
            noise = random.Random(10 * number + seed)
            length = 45_000 if (method, seed) == ("infomax_gan", 2) else 100_000
            settings = config(method, terms, seed)
            records = []
            for iteration in range(step, length + 1, step):
                fid = goal + 2.2 + 120 * math.exp(-iteration / 9000) + 40_000 / iteration
                fid += noise.gauss(0, 0.25)
                scores = {"FID": fid - 0.4}
                records.append(record(scores, iteration, about=cheap, config=settings))
            if length == 100_000:
                scores = {
                    "FID": goal + noise.gauss(0, 0.3),
                    "IS": 8 + noise.gauss(0, 0.05),
                    "KID": goal / 1400,
                }
                spread = [scores["FID"] + d for d in (-0.06, 0.01, 0.05)]
                records.append(
                    record(scores, about=full, config=settings, by_evaluation_seed={"FID": spread})
                )
            name = "+".join([f"cifar10-{method}", *terms]) + f"-seed{seed}-20260102-030405"
            overrides = f"experiment=mimicry_cifar10 gan={method} seed={seed}"
            write_run(
                folder / name,
                records,
                f"python train.py {overrides}",
                torn='{"schema": 1, "scor' if length < 100_000 else "",
                picture=grid((40 * number, 200 - 40 * number, 90)),
            )
    about = protocol("avatars", extractor="avatars", num_real=8000, num_fake=5000, generator="ema")
    for n_dis in (1, 2):
        settings = config("sngan_lite", iterations=1500)
        settings["gan"]["n_dis"] = n_dis
        records = [
            record(
                {"FD/avatars": 300 * math.exp(-i / 500) + 9 - n_dis},
                i,
                AVATARS,
                about,
                config=settings,
                hardware={"device": "cpu", "devices": 1, "cores": 2},
                commit="89abcdef" * 5 + "-dirty",
            )
            for i in range(250, 1501, 250)
        ]
        write_run(folder / f"avatars-sngan_lite-{n_dis}", records, picture=grid((150, 90, 60)))
    return folder
