"""Spectral norm against the stock one, and what training asks of it."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from saddlepoint.gans.networks.spectral_norm import SpectralNorm, add_spectral_norm

pytestmark = pytest.mark.numerical

LAYERS = {
    "convolution": lambda: nn.Conv2d(3, 8, 3),
    "transposed": lambda: nn.ConvTranspose2d(3, 8, 4, 2, 1),
    "linear": lambda: nn.Linear(6, 4),
    "embedding": lambda: nn.Embedding(10, 6),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_spectral_norm_equals_the_stock_one(kind):
    ours = LAYERS[kind]()
    stock = copy.deepcopy(ours)
    torch.manual_seed(1)
    add_spectral_norm(ours)
    torch.manual_seed(1)
    parametrizations.spectral_norm(stock)
    original, stock_original = (m.parametrizations.weight.original for m in (ours, stock))
    for training in (True, True, False):
        ours.train(training), stock.train(training)
        weight, expected = ours.weight, stock.weight
        torch.testing.assert_close(weight, expected)
        target = torch.randn_like(weight)
        (gradient,) = torch.autograd.grad((weight * target).sum(), original)
        (stock_gradient,) = torch.autograd.grad((expected * target).sum(), stock_original)
        torch.testing.assert_close(gradient, stock_gradient)
        state, stock_state = ours.parametrizations.weight[0], stock.parametrizations.weight[0]
        torch.testing.assert_close(state.u, stock_state._u)
        torch.testing.assert_close(state.v, stock_state._v)
        with torch.no_grad():
            original += 0.1 * target
            stock_original += 0.1 * target


def test_power_iteration_runs_in_training_mode_only():
    layer = add_spectral_norm(nn.Linear(6, 4))
    state = layer.parametrizations.weight[0]
    with torch.no_grad():
        layer.parametrizations.weight.original.normal_()
    before = state.u.clone()
    layer.eval()(torch.randn(2, 6))
    assert torch.equal(state.u, before)
    layer.train()(torch.randn(2, 6))
    assert not torch.equal(state.u, before)


def test_spectral_norm_of_channels_last_weights():
    layer = add_spectral_norm(nn.Conv2d(3, 8, 3))
    other = copy.deepcopy(layer).to(memory_format=torch.channels_last)
    original = other.parametrizations.weight.original
    assert original.is_contiguous(memory_format=torch.channels_last)
    for _ in range(2):
        weight, expected = other.weight, layer.weight
        torch.testing.assert_close(weight, expected)
    assert weight.is_contiguous(memory_format=torch.channels_last)
    weight.square().sum().backward()
    expected.square().sum().backward()
    torch.testing.assert_close(original.grad, layer.parametrizations.weight.original.grad)
    torch.testing.assert_close(
        other.parametrizations.weight[0].v, layer.parametrizations.weight[0].v
    )


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_spectral_norm_stays_in_float32_under_autocast(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a GPU")
    layer = add_spectral_norm(nn.Linear(64, 32, device=device))
    twin = copy.deepcopy(layer)
    with torch.autocast(device, torch.bfloat16):
        weight = layer.weight
    assert weight.dtype == torch.float32
    assert torch.equal(weight, twin.weight)
    assert torch.equal(layer.parametrizations.weight[0].u, twin.parametrizations.weight[0].u)


def test_spectral_norm_survives_copies_and_state_dicts():
    layer = add_spectral_norm(nn.Conv2d(3, 8, 3))
    layer(torch.randn(1, 3, 5, 5)).sum().backward()
    restored = add_spectral_norm(nn.Conv2d(3, 8, 3))
    restored.load_state_dict(layer.state_dict())
    twin = copy.deepcopy(layer)
    for _ in range(3):
        weight = layer.weight
        assert torch.equal(weight, twin.weight) and torch.equal(weight, restored.weight)
    assert twin.parametrizations.weight[0].u is not layer.parametrizations.weight[0].u


def test_spectral_norm_second_derivatives():
    weight = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    norm = SpectralNorm(weight).eval()
    assert torch.autograd.gradcheck(norm, weight)
    assert torch.autograd.gradgradcheck(norm, weight)


def test_two_forward_passes_before_one_backward_pass():
    layer = add_spectral_norm(nn.Linear(6, 1, dtype=torch.double))
    x = torch.randn(2, 6, dtype=torch.double)
    evaluated = layer.eval()(x)
    (layer.train()(x) - 2 * layer(x) + 3 * evaluated).sum().backward()
    # Of a 1 x 6 weight all three passes have the same norm, and the same gradient.
    together = layer.parametrizations.weight.original.grad.clone()
    layer.zero_grad()
    (2 * layer(x)).sum().backward()
    torch.testing.assert_close(together, layer.parametrizations.weight.original.grad)
