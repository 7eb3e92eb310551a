"""How many device operations an iteration issues, and how they are counted."""

import pytest
import torch
from play import play, spec_of
from pytorch_lightning import Callback
from train_cli import ROOT, composed

from saddlepoint.runs.build import build_game


@pytest.fixture
def operations(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import operations

    return operations


def test_what_counts(operations):
    a, b = torch.randn(4, 4), torch.randn(4, 4)
    with operations.Operations() as counted:
        c = a @ b.T.reshape(16).view(4, 4)  # a view's copy counts, a view does not
        torch.empty(3), c.detach(), c[1:].unbind()
    assert counted.by_name == {"mm": 1, "clone": 1}
    with operations.Operations() as counted:
        torch._foreach_mul_([a, b], 2.0)
        torch._foreach_norm([a, b[0]])
        torch._foreach_mul([a, b], [c, c[0, 0]])  # of unequal shapes: one by one
    assert counted.total == 1 + 1 + 2


def test_what_a_backward_pass_does_counts(operations):
    x = torch.randn(3, requires_grad=True)
    with operations.Operations() as counted:
        x.relu().sum().backward()
    assert counted.by_name["threshold_backward"] == 1


def test_peak_memory_is_that_of_what_lives_at_once(operations):
    old = torch.ones(1000, 1000)
    with operations.Operations() as followed:
        for _ in range(3):
            a = torch.ones(1000, 1000)
            del a
        old.add_(1)[1:].zero_()  # lived before
        kept = [torch.ones(500, 1000) for _ in range(3)]
    assert followed.peak == 3 * 500 * 1000 * 4
    assert len(kept) == 3
    x = torch.ones(1000, requires_grad=True)
    with operations.Operations() as followed:
        y = x.exp()
        z = y.sum()
        del y  # the graph keeps it
        torch.ones(1000)
    assert followed.peak == 2 * 4000 + 4
    assert z > 0


class Count(Callback):
    """Counts the third iteration of a game."""

    def __init__(self, counter):
        self.counter = counter

    def on_train_batch_end(self, trainer, game, *_):
        if game.iteration == 2:
            self.counter.__enter__()
        elif game.iteration == 3:
            self.counter.__exit__(None, None, None)


#: Counted with torch 2.14 and rounded up; other versions may differ by a few.
AT_MOST = {"sngan": 950, "ssgan": 1120, "infomax_gan": 1400, "dag_gan": 1500}


@pytest.mark.parametrize("gan", AT_MOST)
def test_operations_of_an_iteration(operations, gan):
    width = [f"network.{name}.width=8" for name in ("generator", "discriminator")]
    quick = ["batch_size=4", "gan.precision='32'", "iterations=4"]
    game = build_game(composed([f"gan={gan}", *width, *quick]), spec_of((3, 32, 32)))
    counter = operations.Operations()
    play(game, stop=3, callbacks=[Count(counter)])
    assert game.n_dis == 5
    assert counter.total <= AT_MOST[gan], counter.by_name.most_common()
