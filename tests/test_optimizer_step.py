"""A step of an optimiser by the game is the optimiser's own."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam, AdamW
from torch.optim.optimizer import register_optimizer_step_pre_hook

from saddlepoint.gans import optimizer_step
from saddlepoint.gans.optimizer_step import make_step

FUSED = partial(Adam, lr=1e-2, betas=(0.5, 0.9), fused=True)


def network(dtype=torch.float32):
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2), nn.Linear(2, 2))
    layers[3].to(dtype)
    return layers


def after_steps(make, step, dtype=torch.float32, between=lambda optimizer, i: None):
    """Weights and state of the optimiser after four steps; a layer gets no gradient in one."""
    trained = network(dtype)
    optimizer = make(trained.parameters())
    for i in range(4):
        optimizer.zero_grad()
        used = trained[:3] if i == 2 else trained[:3].append(trained[3])
        between(optimizer, i)
        out = torch.linspace(-1, 1, 12).view(4, 3)
        for layer in used:
            out = layer(out.to(next(iter(layer.parameters()), out).dtype))
        out.float().square().sum().backward()
        step(optimizer)
    return [*trained.parameters(), *(t for s in optimizer.state.values() for t in s.values())]


def equal(make, **options):
    ours = after_steps(make, make_step, **options)
    torchs = after_steps(make, lambda optimizer: optimizer.step(), **options)
    return len(ours) == len(torchs) and all(map(torch.equal, ours, torchs))


def change_settings(optimizer, i):
    optimizer.param_groups[0]["lr"] = 1e-2 / (i + 1)
    optimizer.param_groups[0]["betas"] = (0.5, 0.9 + 0.01 * i)


def by_layers(parameters):
    first, second, *rest = parameters
    return FUSED([{"params": [first, second], "lr": 0.1, "weight_decay": 0.1}, {"params": rest}])


@pytest.fixture
def lean(monkeypatch):
    """Counts the steps that torch takes no part in."""
    steps, step = [], optimizer_step._step_of_adam
    monkeypatch.setattr(optimizer_step, "_step_of_adam", lambda *a: (steps.append(1), step(*a)))
    return steps


@pytest.mark.parametrize(
    ("make", "groups"),
    [(FUSED, 1), (partial(FUSED, weight_decay=0.1, maximize=True), 1), (by_layers, 2)],
)
def test_fused_adam_steps_as_torchs_does(make, groups, lean):
    assert equal(make, between=change_settings)
    assert len(lean) == 3 * groups  # the first makes the state


@pytest.mark.parametrize(
    "make",
    [
        partial(Adam, lr=1e-2),
        partial(FUSED, amsgrad=True),
        partial(AdamW, lr=1e-2, fused=True),
        partial(FUSED, lr=torch.tensor(1e-2)),
        partial(SGD, lr=1e-2, momentum=0.9),
    ],
)
def test_others_step_by_themselves(make, lean):
    assert equal(make)
    assert not lean


def test_parameters_of_several_kinds_are_sorted_by_torch(lean):
    assert equal(FUSED, dtype=torch.float64)
    assert len(lean) == 1  # where the layer of the other kind has no gradient


def test_whoever_watches_a_step_sees_it(lean):
    seen = []

    def watch(optimizer, i):
        if i == 2:
            optimizer.register_step_post_hook(lambda *_: seen.append("post"))

    assert equal(FUSED, between=watch)
    assert seen == 2 * 2 * ["post"]  # of either step, from the third on
    assert len(lean) == 1
    handle = register_optimizer_step_pre_hook(lambda *_: seen.append("any"))
    try:
        assert equal(FUSED)
    finally:
        handle.remove()
    assert seen.count("any") == 8


def test_a_step_that_a_scheduler_counts_is_torchs(lean):
    def schedule(optimizer, i):
        if i == 0:
            torch.optim.lr_scheduler.StepLR(optimizer, 1)

    assert equal(FUSED, between=schedule)
    assert not lean


def test_a_resumed_optimizer_goes_on_as_torchs_does(lean):
    def resume(optimizer, i):
        if i == 2:
            optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))

    assert equal(FUSED, between=resume)
    assert len(lean) == 3
