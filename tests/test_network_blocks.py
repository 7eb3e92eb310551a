"""Blocks and layers of the networks: identities, conditional norms, upsampling."""

import itertools
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from saddlepoint.gans.networks.attention import SelfAttention
from saddlepoint.gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.dcgan import DCGANGenerator
from saddlepoint.gans.networks.resnet import BACKBONES, ResNetDiscriminator, ResNetGenerator
from saddlepoint.gans.networks.resnet_blocks import (
    DiscriminatorBlock,
    DiscriminatorFirstBlock,
    GeneratorBlock,
)
from saddlepoint.gans.networks.upsampling import UpConvolution, Upsampling, upsample

pytestmark = pytest.mark.numerical


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# Blocks -----------------------------------------------------------------------------------------


def test_attention_is_exactly_the_identity_at_first():
    layer = SelfAttention(16)
    features = torch.randn(2, 16, 6, 8)
    assert torch.equal(layer(features), features)
    with torch.autocast("cpu", torch.bfloat16):
        result = layer(features.bfloat16())
    assert result.dtype == torch.bfloat16 and torch.equal(result, features.bfloat16())


def test_attention_equals_its_definition():
    layer = SelfAttention(16).eval()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    features = torch.randn(2, 16, 4, 6)
    theta, phi, g = layer.theta(features), layer.phi(features), layer.g(features)
    attended = torch.zeros_like(g)
    boxes = list(itertools.product(range(0, 4, 2), range(0, 6, 2)))
    for n, i, j in itertools.product(range(2), range(4), range(6)):
        keys = torch.stack([phi[n, :, y : y + 2, x : x + 2].amax((1, 2)) for y, x in boxes])
        values = torch.stack([g[n, :, y : y + 2, x : x + 2].amax((1, 2)) for y, x in boxes])
        attended[n, :, i, j] = torch.softmax(keys @ theta[n, :, i, j], 0) @ values
    torch.testing.assert_close(layer(features), features + 0.7 * layer.o(attended))


def test_attention_changes_nothing_at_first_and_sits_where_it_should():
    latents, images = torch.randn(2, 128), torch.randn(2, 3, 32, 32)
    generator = ResNetGenerator(shape=(3, 32, 32), width=16, attention=2).eval()
    discriminator = ResNetDiscriminator(shape=(3, 32, 32), width=16, attention=2).eval()
    sizes = []
    for layer in (generator.attention, discriminator.trunk[2]):
        assert isinstance(layer, SelfAttention)
        layer.register_forward_hook(lambda _, inputs, __: sizes.append(tuple(inputs[0].shape[1:])))
    with_attention = generator(latents), discriminator(images).logits
    assert sizes == [(16, 16, 16), (16, 8, 8)]
    generator.attention_after, discriminator.trunk[2] = None, nn.Identity()
    assert torch.equal(with_attention[0], generator(latents))
    assert torch.equal(with_attention[1], discriminator(images).logits)


def test_sagan_generator_is_spectrally_normalised_except_for_batch_norm():
    generator = ResNetGenerator(
        shape=(3, 32, 32), condition=Classes(2), width=16, spectral_norm=True
    )
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert nn.utils.parametrize.is_parametrized(module)
        elif isinstance(module, nn.Embedding):
            assert not nn.utils.parametrize.is_parametrized(module)


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_equals_batch_norm_when_classes_agree(training):
    layer, plain = ConditionalBatchNorm2d(5, Classes(3)), nn.BatchNorm2d(5)
    gain, bias = torch.randn(2, 5)
    with torch.no_grad():
        layer.gain.weight.copy_(gain.expand(3, 5))
        layer.bias.weight.copy_(bias.expand(3, 5))
        plain.weight.copy_(gain)
        plain.bias.copy_(bias)
    layer.train(training), plain.train(training)
    for _ in range(2):
        features = torch.randn(4, 5, 3, 3) * 2 + 1
        torch.testing.assert_close(layer(features, torch.tensor([0, 1, 2, 1])), plain(features))
    torch.testing.assert_close(layer.norm.running_var, plain.running_var)
    torch.testing.assert_close(ConditionalBatchNorm2d(5)(features), nn.BatchNorm2d(5)(features))


def test_batch_norm_without_averages_normalises_by_its_batch_in_eval_mode_as_well():
    features = 3 * torch.randn(8, 5, 4, 4) + 1
    ours, plain = ConditionalBatchNorm2d(5).eval(), nn.BatchNorm2d(5).eval()
    for norm in (ours.norm, plain):
        norm.running_mean = norm.running_var = None  # as protocol.batch_norm=batch does
    torch.testing.assert_close(ours(features), plain(features))


def test_conditional_batch_norm_uses_the_gain_of_each_class():
    layer = ConditionalBatchNorm2d(500, Classes(4))
    assert layer.gain.weight.mean().item() == pytest.approx(1.0, abs=2e-3)
    assert layer.gain.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not layer.bias.weight.any()
    features, labels = torch.randn(3, 500, 2, 2), torch.tensor([3, 0, 3])
    ratio = layer(features, labels) / layer.norm(features)
    torch.testing.assert_close(ratio[..., 0, 0], layer.gain.weight[labels], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="needs conditions"):
        layer(features)


def test_last_batch_norm_of_a_conditional_generator_is_unconditional():
    conditional = ResNetGenerator(shape=(3, 32, 32), condition=Classes(7), width=16)
    plain = ResNetGenerator(shape=(3, 32, 32), width=16)
    # Six batch norms of 16 channels hold 7 gains and biases instead of 1.
    assert parameters(conditional) - parameters(plain) == 6 * 6 * 2 * 16


def test_preact_shortcut():
    options = {"downsample": False, "spectral_norm": True}
    rectified = DiscriminatorBlock(4, 6, preact_shortcut="relu", **options).eval()
    raw = DiscriminatorBlock(4, 6, preact_shortcut="raw", **options).eval()
    raw.load_state_dict(rectified.state_dict())
    x = torch.randn(2, 4, 8, 8)
    # "relu" cannot see negative inputs; "raw" sees them in the shortcut, and nowhere else.
    assert torch.equal(rectified(x), rectified(F.relu(x)))
    torch.testing.assert_close(raw(F.relu(x)), rectified(x))
    assert not torch.allclose(raw(x), rectified(x))
    torch.testing.assert_close(
        raw(x) - rectified(x), raw.shortcut(x) - raw.shortcut(F.relu(x)), rtol=1e-4, atol=1e-5
    )
    identity = DiscriminatorBlock(4, 4, preact_shortcut="relu", **options)
    assert isinstance(identity.shortcut, nn.Identity)


@pytest.mark.parametrize("size", BACKBONES)
def test_preact_shortcut_decides_whether_the_local_map_is_rectified(size):
    images = torch.randn(2, 3, size, size)
    relu = ResNetDiscriminator(shape=(3, size, size), width=64).eval()
    raw = ResNetDiscriminator(shape=(3, size, size), width=64, preact_shortcut="raw").eval()
    assert relu.features(images)[0].min() == 0
    assert raw.features(images)[0].min() < 0
    assert relu.features(images)[1].min() >= 0 and raw.features(images)[1].min() >= 0


def test_inputs_are_never_overwritten():
    block = DiscriminatorBlock(4, 4, downsample=False, preact_shortcut="relu", spectral_norm=False)
    x = torch.randn(2, 4, 8, 8)
    before = x.clone()
    block(x)
    assert torch.equal(x, before)


def test_shortcuts_in_the_order_of_the_paper():
    x = torch.randn(2, 4, 8, 8)
    block = DiscriminatorBlock(4, 6, downsample=True, preact_shortcut="raw", spectral_norm=False)
    hidden = block.conv2(F.relu(block.conv1(F.relu(x)))) + block.shortcut(x)
    torch.testing.assert_close(block(x), F.avg_pool2d(hidden, 2))
    first = DiscriminatorFirstBlock(4, 6, spectral_norm=False)
    hidden = first.conv2(F.relu(first.conv1(x)))
    expected = F.avg_pool2d(hidden, 2) + first.shortcut(F.avg_pool2d(x, 2))
    torch.testing.assert_close(first(x), expected)
    for kind in ("bilinear", "nearest", "zero_insertion"):
        block = GeneratorBlock(4, 6, upsampling=kind)
        hidden = block.conv1.conv(upsample(F.relu(block.norm1(x)), kind))
        hidden = block.conv2(F.relu(block.norm2(hidden)))
        torch.testing.assert_close(block(x), hidden + block.shortcut.conv(upsample(x, kind)))


# Upsampling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", get_args(Upsampling))
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_every_up_convolution_doubles_the_size(kind, kernel_size):
    layer = UpConvolution(4, 6, kernel_size, upsampling=kind)
    assert layer(torch.randn(2, 4, 5, 7)).shape == (2, 6, 10, 14)


def test_zero_insertion_tiles_the_spectrum():
    x = torch.randn(1, 2, 4, 4)
    doubled = upsample(x, "zero_insertion")
    assert torch.equal(doubled[..., ::2, ::2], x)
    assert doubled.count_nonzero() == x.numel()
    spectrum = torch.fft.fft2(doubled)
    torch.testing.assert_close(spectrum, torch.fft.fft2(x).repeat(1, 1, 2, 2))


def test_nearest_is_zero_insertion_and_a_box():
    x = torch.randn(1, 1, 4, 4)
    padded = F.pad(upsample(x, "zero_insertion"), (1, 0, 1, 0))
    boxed = F.conv2d(padded, torch.ones(1, 1, 2, 2))
    torch.testing.assert_close(upsample(x, "nearest"), boxed)
    spectrum = torch.fft.fft2(upsample(x, "nearest"))
    assert spectrum[..., 4, :].abs().max() < 1e-5 and spectrum[..., 4].abs().max() < 1e-5


def test_bilinear_does_not_align_corners():
    x = torch.tensor([[[[0.0, 4.0]]]])
    assert upsample(x, "bilinear")[0, 0, 0].tolist() == [0.0, 1.0, 3.0, 4.0]


def test_transposed_convolution_is_zero_insertion_and_a_filter():
    layer = UpConvolution(3, 2, 3, upsampling="transposed")
    x = torch.randn(1, 3, 5, 5)
    padded = F.pad(upsample(x, "zero_insertion"), (2, 2, 2, 2))
    weight = layer.conv.weight.transpose(0, 1).flip(2, 3)
    expected = F.conv2d(padded, weight, layer.conv.bias)[..., :10, :10]
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", [ResNetGenerator, DCGANGenerator])
def test_last_upsampling_changes_the_last_layer_alone(network):
    generator = network(shape=(3, 32, 32), width=8, upsampling="nearest")
    other = network(shape=(3, 32, 32), width=8, upsampling="nearest", last_upsampling="transposed")
    kinds = [m.upsampling for m in other.modules() if isinstance(m, UpConvolution)]
    assert kinds[-1] == "transposed" and kinds[0] == "nearest"
    assert parameters(other) > parameters(generator)
