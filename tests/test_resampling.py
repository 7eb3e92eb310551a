"""Convolutions joined with pools and nearest neighbours, against one after the other."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from play import play
from torch.utils.flop_counter import FlopCounterMode

from saddlepoint.gans import SNGAN
from saddlepoint.gans.networks.downsampling import AveragePool, LearnedHalving, Unhalved
from saddlepoint.gans.networks.layers import convolution
from saddlepoint.gans.networks.resnet import ResNetDiscriminator, ResNetGenerator
from saddlepoint.gans.networks.upsampling import UpConvolution, upsample

pytestmark = pytest.mark.numerical


def pooled(kernel_size, spectral_norm):
    """A joint layer, the plain one, and the module with the weights of both."""
    conv, halve = convolution(4, 6, kernel_size, spectral_norm=spectral_norm), AveragePool()
    return partial(halve.after, conv), lambda x: halve(conv(x)), conv


def learned(kernel_size, spectral_norm):
    conv = convolution(4, 6, kernel_size, spectral_norm=spectral_norm)
    halve = LearnedHalving(6, spectral_norm=False)
    return partial(halve.after, conv), lambda x: halve(conv(x)), conv


def nearest(kernel_size, spectral_norm):
    up = UpConvolution(4, 6, kernel_size, upsampling="nearest", spectral_norm=spectral_norm)
    return up, partial(upsample_then_convolve, up), up.conv


def upsample_then_convolve(up, x):
    return up.conv(upsample(x, "nearest"))


LAYERS = [pooled, learned, nearest]


@pytest.mark.parametrize("make", LAYERS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_joint_and_plain_layers_are_one_function(make, kernel_size, spectral_norm, memory_format):
    joint, plain, layer = make(kernel_size, spectral_norm)
    layer.eval().to(memory_format=memory_format)  # so that the power iteration stands still
    x = torch.randn(2, 4, 6, 10).contiguous(memory_format=memory_format).requires_grad_()
    sought = [x, *layer.parameters()]
    torch.testing.assert_close(joint(x), plain(x))

    def slopes(forward):
        first = torch.autograd.grad(forward(x).tanh().sum(), sought, create_graph=True)
        return *first, *torch.autograd.grad(first[0].square().sum(), sought)

    for mine, other in zip(slopes(joint), slopes(plain), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("make", LAYERS)
def test_borders_are_those_of_the_plain_layer(make):
    joint, plain, _ = make(3, spectral_norm=False)
    corner = torch.zeros(1, 4, 4, 4)
    corner[..., 0, 0] = corner[..., -1, -1] = 1
    torch.testing.assert_close(joint(corner), plain(corner))


@pytest.mark.parametrize(("make", "share"), [(pooled, 4 / 9), (nearest, 4 / 9)])
def test_joint_layers_multiply_less(make, share):
    joint, plain, _ = make(3, spectral_norm=False)
    counts = []
    for layer in joint, plain:
        with FlopCounterMode(display=False) as counter:
            layer(torch.randn(1, 4, 8, 8))
        counts.append(counter.get_total_flops())
    assert counts[0] == share * counts[1]


def after_twenty(nudge=0.0):
    """Weights of a short game on residual networks, its first ones changed by ``nudge``."""
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=0.02)  # Adam would blow up the rounding of a gradient of 0
    settings = {"discriminator_optimizer": sgd, "generator_optimizer": sgd, "n_dis": 1}
    options = {"shape": (3, 32, 32), "width": 8}
    networks = ResNetGenerator(**options, upsampling="nearest"), ResNetDiscriminator(**options)
    game = SNGAN(*networks, iterations=20, batch_size=4, precision="32", **settings)
    with torch.no_grad():
        for parameter in game.parameters():
            parameter *= 1 + nudge * torch.randn_like(parameter)
    return torch.cat([p.detach().flatten().double() for p in play(game).parameters()])


def test_twenty_iterations_lead_to_the_same_weights(monkeypatch):
    joint = after_twenty()
    monkeypatch.setattr(AveragePool, "after", lambda halve, conv, x: halve(conv(x)))
    monkeypatch.setattr(UpConvolution, "from_nearest", upsample_then_convolve)
    plain = after_twenty()
    # As near as the plain path is to itself when the last bit of its initial weights is unsure.
    nudged = after_twenty(nudge=torch.finfo(torch.float32).eps)
    allowed = 10 * (nudged - plain).norm()
    assert 0 < (joint - plain).norm() < allowed
    assert allowed < 1e-2 * plain.norm()


def test_what_keeps_the_size_is_the_convolution_alone():
    conv, x = convolution(4, 6, 3), torch.randn(2, 4, 6, 6)
    assert torch.equal(Unhalved().after(conv, x), conv(x))
    assert F.mse_loss(Unhalved()(x), x) == 0
