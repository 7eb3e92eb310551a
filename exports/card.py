"""The model card of an exported generator: what it is, in the form that the Hugging Face hub reads.

The head is YAML (https://huggingface.co/docs/hub/model-cards), with the scores as its
``model-index``; below it stands the same for people.
"""

import inspect
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from saddlepoint.exports.generator import TrainedGenerator

PICTURE = "samples.png"
TASK = "unconditional-image-generation"


def card(
    generator: TrainedGenerator,
    method: type,
    config: Mapping[str, Any],
    data: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    files: Sequence[str],
    license_: str | None = None,
) -> str:
    """README.md of an exported generator.

    Args:
        generator: that is exported.
        method: class of the game that trained it.
        config: settings it was trained with.
        data: what the data are, in plain values.
        records: its scores.
        files: names of the files beside the card.
        license_: of the weights, by its name on the hub; None leaves it open.
    """
    about = generator.about
    images = len(generator.shape) == 3
    parts = [
        f"---\n{yaml.safe_dump(_head(about, data, records, images, license_), sort_keys=False)}---",
        f"# {about['title']}",
        _what_it_is(generator, method, data),
        f"![Samples]({PICTURE})",
        "## Use",
        _use(generator, files),
        "## Scores",
        _scores(records),
        "## Training",
        _training(generator, config, data),
        "## Citation",
        _citation(method),
    ]
    return "\n\n".join(parts) + "\n"


def _head(
    about: Mapping[str, Any],
    data: Mapping[str, Any],
    records: Sequence[Mapping[str, Any]],
    images: bool,
    license_: str | None,
) -> dict[str, Any]:
    head: dict[str, Any] = {"library_name": "saddlepoint"}
    if license_:
        head["license"] = license_
    if images:
        head["pipeline_tag"] = TASK
    head["tags"] = ["gan", "saddlepoint", about["method"], data["name"]]
    results = [
        {
            "task": {"type": TASK, "name": "Image generation" if images else "Sampling"},
            "dataset": {"type": data["name"], "name": data["name"]},
            "metrics": [
                {"type": name.split("/")[0].lower(), "name": name, "value": value}
                for name, value in record["scores"].items()
                if name in record["directions"]
            ],
        }
        for record in records
    ]
    if results:
        head["model-index"] = [{"name": about["title"], "results": results}]
    return head


def _what_it_is(generator: TrainedGenerator, method: type, data: Mapping[str, Any]) -> str:
    about, shape = generator.about, " x ".join(map(str, generator.shape))
    doc = (inspect.getdoc(sys.modules[method.__module__]) or method.__name__).split("\n\n")[0]
    drawn = "images" if len(generator.shape) == 3 else "points"
    asked = f", asked for one of {len(generator.classes)} classes" if generator.classes else ""
    kind = "moving average of the weights" if about["weights"] == "ema" else "weights as trained"
    return (
        f"A generator of {drawn} ({shape}) like those of {data['name']}{asked}; the {kind} after"
        f" {about['iteration']:,} iterations ({about['kimg']:,.1f} kimg), {generator.parameters:,}"
        " parameters. Trained with Saddlepoint.\n\n"
        f"Method: {' '.join(doc.split())}"
    )


def _use(generator: TrainedGenerator, files: Sequence[str]) -> str:
    classes = generator.classes
    asked = f"\ngenerator.sample(8, classes={classes[0]!r})" if classes else ""
    lines = [
        "```python",
        "import saddlepoint",
        "",
        'generator = saddlepoint.load("path/of/this/folder")  # or "hf://user/name"',
        "samples = generator.sample(64, seed=0)  # float32 (64, *shape), images in [-1, 1]",
        f"generator.grid(64){asked}",
        "```",
    ]
    texts = {
        "model.safetensors": "weights; `config.json` says what they are the weights of",
        "generator.pth": _of_torchscript(generator),
        "generator.pt2": "`torch.export.load`: latents to float32 samples",
        "generator.onnx": "ONNX: latents to float32 samples",
    }
    table = ["| file | |", "|---|---|", *(f"| `{f}` | {texts[f]} |" for f in files if f in texts)]
    also = " and `classes` (n,), int64" if classes else ""
    latents = f"Latents (n, {generator.network.latent_dim}) are {_distribution(generator)}{also}."
    return "\n".join([*lines, "", *table, "", latents])


def _distribution(generator: TrainedGenerator) -> str:
    return "from N(0, 1)" if generator.prior == "normal" else "from U(-1, 1)"


def _of_torchscript(generator: TrainedGenerator) -> str:
    if len(generator.shape) != 3:
        return "TorchScript: latents to float32 samples"
    words = ["--gpu 0 --fid --input1 generator.pth"]
    words.append(f"--input1-model-z-size {generator.network.latent_dim}")
    words.append(f"--input1-model-z-type {fidelity_noise(generator)}")
    if generator.classes:
        words.append(f"--input1-model-num-classes {len(generator.classes)}")
    words.append("--input1-model-num-samples 50000 --input2 reals")
    also = " (latents from U(0, 1) there)" if generator.prior == "uniform" else ""
    return f"TorchScript: latents to uint8 images{also}, for `fidelity {' '.join(words)}`"


def fidelity_noise(generator: TrainedGenerator) -> str:
    """What torch-fidelity calls the latents of ``generator.pth``."""
    return "normal" if generator.prior == "normal" else "uniform_0_1"


def _scores(records: Sequence[Mapping[str, Any]]) -> str:
    if not records:
        return "It has not been scored: `python evaluate.py run=...` before exporting."
    tables = []
    for record in records:
        protocol = record["protocol"]
        said = (
            f"Protocol {protocol.get('name') or 'of its own'}: {protocol['num_fake']:,} generated"
            f" against {protocol['num_real']:,} real items of {protocol['dataset']},"
            f" {protocol['extractor']}, fingerprint `{record['fingerprint'][:12]}`."
        )
        rows = [
            f"| {name} | {value:.5g} | {record['directions'][name]} |"
            for name, value in record["scores"].items()
            if name in record["directions"]
        ]
        tables += [said, "\n".join(["| score | value | better |", "|---|---|---|", *rows])]
    return "\n\n".join(tables)


def _training(
    generator: TrainedGenerator, config: Mapping[str, Any], data: Mapping[str, Any]
) -> str:
    terms = ", ".join(config.get("terms") or {}) or "none"
    facts = {
        "method": generator.about["method"],
        "terms": terms,
        "data": f"{data['name']}, {data.get('num_items', 0):,} items, digest {data['digest'][:23]}",
        "batch size": config["batch_size"],
        "seed": config["seed"],
        "Saddlepoint": generator.about.get("saddlepoint"),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in facts.items())])


def _citation(method: type) -> str:
    """What the method's own file cites, and the framework."""
    doc = (inspect.getdoc(sys.modules[method.__module__]) or "").split("\n\n")[1:]
    cited = [" ".join(part.split()) for part in doc[:1]]
    framework = (
        "```bibtex\n@software{saddlepoint,\n  title = {Saddlepoint: GAN research training},\n"
        "  author = {{The Saddlepoint authors}}\n}\n```"
    )
    return "\n\n".join([*cited, framework])
