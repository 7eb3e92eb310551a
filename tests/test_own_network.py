"""What docs/networks.md and docs/terms.md show is in examples/own_method."""

import ast
import re
from pathlib import Path

import pytest
import torch

from saddlepoint.items import Items
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

ROOT = Path(__file__).parents[1]
OWN = ROOT / "examples" / "own_method"


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(OWN))


def bare(source):
    """Code without annotations, docstrings and comments."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node):
            node.body = node.body[1:]
    return {node.name: ast.unparse(node) for node in tree.body if isinstance(node, ast.ClassDef)}


@pytest.mark.parametrize("page, module", [("networks", "networks"), ("terms", "lecam")])
def test_page_shows_the_code_that_is_there(page, module):
    there = bare((OWN / "own_method" / f"{module}.py").read_text())
    blocks = re.findall(r"```python\n(class .*?)```", (ROOT / f"docs/{page}.md").read_text(), re.S)
    shown = bare("\n".join(blocks))
    assert shown
    for name, code in shown.items():
        assert code == there[name]


def test_lecam_is_its_equation():
    from own_method.lecam import LeCam

    term = LeCam(decay=0.75)
    term.anchors.copy_(torch.tensor([0.4, -0.8]))
    seen = {
        "real": Items(logits=torch.tensor([[1.0], [3.0]])),
        "fake": Items(logits=torch.tensor([[-1.0], [0.0]])),
    }
    step = Step(0, 10, Draws(0), Items(), seen=seen)
    loss = term.discriminator_loss(step)
    # a_R = 0.75 * 0.4 + 0.25 * 2 and a_F = 0.75 * -0.8 + 0.25 * -0.5
    torch.testing.assert_close(term.anchors, torch.tensor([0.8, -0.725]))
    of_real = ((1 + 0.725) ** 2 + (3 + 0.725) ** 2) / 2
    of_fake = ((-1 - 0.8) ** 2 + (0 - 0.8) ** 2) / 2
    torch.testing.assert_close(loss, torch.tensor(of_real + of_fake))
