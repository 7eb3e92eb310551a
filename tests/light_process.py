"""A script whose process should import nothing heavy; prints its answer, and what it imported."""

import json
import sys

from saddlepoint import schema
from saddlepoint.runs.console import run

HEAVY = (
    "torch",
    "pytorch_lightning",
    "torchvision",
    "torchmetrics",
    "matplotlib",
    "wandb",
    "scipy",
)


def described(target):
    """All that help and refusals take from what a target's settings are, in plain values."""
    settings = {
        # A default that is computed is not shown, and is none where the source alone is read.
        name: [s.words, s.meaning, s.takes_objects, callable(s.default) or repr(s.default)]
        for name, s in schema.settings_of(target).items()
    }
    return [settings, schema.takes_anything(target)]


def outlines(targets):
    """What the sources of targets say; null where they say nothing."""
    found = {target: schema.outlined(target) for target in targets}
    return {name: None if each is None else described(each) for name, each in found.items()}


def codes(commands):
    """Exit codes of commands, each a list of words."""
    ends = []
    for command, *words in commands:
        sys.argv = [f"{command}.py", *words]
        try:
            ends.append(run(command) or 0)
        except SystemExit as end:
            ends.append(end.code or 0)
    return ends


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    answer = outlines(asked) if sys.argv[1] == "outlines" else codes(asked)
    print(json.dumps([answer, [name for name in HEAVY if name in sys.modules]]))
