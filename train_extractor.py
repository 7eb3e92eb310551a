"""Train the small network whose features score the embedded faces.

    python train_extractor.py

Its accuracy on faces it has not seen is written beside its weights.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from datamodules.avatars import load_avatars
from datamodules.pixels import to_float
from evaluation.attribute_classifier import SHA256, WEIGHTS, AttributeClassifier
from gans.precision import has_fast_bfloat16
from randomness import keyed_generator

HELD_OUT = 1024  # faces for the test
BATCH = 128


def shifted(images: Tensor, generator: torch.Generator) -> Tensor:
    """Move a batch by up to 2 pixels: where a feature lies matters less than what it is."""
    rows, columns = torch.randint(-2, 3, (2,), generator=generator).tolist()
    return torch.roll(images, (rows, columns), dims=(2, 3))


def train(epochs: int, seed: int = 0) -> tuple[AttributeClassifier, dict[str, float]]:
    """Train the classifier; return it, and its accuracy on held-out faces by task."""
    faces = load_avatars()
    images = to_float(faces.images).contiguous(memory_format=torch.channels_last)
    attributes = faces.attributes.float()
    order = torch.randperm(len(images), generator=keyed_generator(seed, "split"))
    test, training = order[:HELD_OUT], order[HELD_OUT:]

    torch.manual_seed(seed)
    network = AttributeClassifier(len(faces.classes), attributes.shape[1])
    network.to(memory_format=torch.channels_last)
    bfloat16 = torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16(images.device))
    steps = epochs * (len(training) // BATCH)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    for epoch in track(range(epochs), "training"):
        generator = keyed_generator(seed, "epoch", epoch)
        for rows in training[torch.randperm(len(training), generator=generator)].split(BATCH):
            if len(rows) < BATCH:
                continue
            with bfloat16:
                classes, binary = network.outputs(shifted(images[rows], generator))
            loss = F.cross_entropy(classes.float(), faces.labels[rows])
            loss = loss + F.binary_cross_entropy_with_logits(binary.float(), attributes[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()

    network.eval()
    with torch.no_grad():
        classes, binary = network.outputs(images[test])
    right = (binary > 0) == (attributes[test] > 0)
    accuracy = {"hair_colour": (classes.argmax(1) == faces.labels[test]).float().mean().item()}
    accuracy |= dict(zip(faces.attribute_names, right.float().mean(0).tolist(), strict=True))
    return network, accuracy


def main() -> None:
    """Train, report, and write the weights with their hash and accuracy."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=16)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    network, accuracy = train(options.epochs)
    for task, share in accuracy.items():
        print(f"{task:<12} {share:7.2%}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    halves = {k: v.half() if v.is_floating_point() else v for k, v in network.state_dict().items()}
    torch.save(halves, options.output)
    digest = hashlib.sha256(options.output.read_bytes()).hexdigest()
    options.output.with_suffix(SHA256.suffix).write_text(f"{digest}\n")
    options.output.with_suffix(".json").write_text(json.dumps(accuracy, indent=2) + "\n")
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
