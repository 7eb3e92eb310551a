"""Networks with an encoder: sizes as published, what their options change, what they refuse."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from play import networks_of
from torch import nn
from train_cli import composed

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator, DCGANEncoder, DCGANGenerator
from saddlepoint.gans.networks.layers import convolution
from saddlepoint.gans.networks.resnet import ResNetDiscriminator, ResNetEncoder, ResNetGenerator
from saddlepoint.gans.networks.resnet_blocks import (
    DiscriminatorBlock,
    DiscriminatorFirstBlock,
    EncoderBlock,
    halving,
)
from saddlepoint.gans.networks.sncnn import SNCNNDiscriminator, SNCNNEncoder, SNCNNGenerator
from saddlepoint.gans.networks.upsampling import UpConvolution

pytestmark = pytest.mark.numerical


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def built(choice, shape, *overrides, **options):
    network = composed([f"network={choice}", *(f"network.{o}" for o in overrides)]).network
    return networks_of(network, shape, **options)


# Published sizes --------------------------------------------------------------------------------

LATENTS, DEPTH_3 = "generator.latent_dim=100", "generator.depth=3"
#: Encoder, generator and discriminator; the last map phi, and its length d_phi of the method page.
#:
#: Counted by hand from the tables: k x k convolutions from i to o channels have i o k k + o
#: parameters (transposed ones, too), linear layers (i + 1) o, batch norms 2 c. For instance
#: dist_gan_dcgan at 32 px, E: (3*64 + 64*128 + 128*256 + 256*512) 25 + 64+128+256+512 for the
#: convolutions, 2 (128+256+512) for the norms, (2048 + 1) 128 for the linear layer.
SIZES = [
    ("dcgan", (3, 32, 32), (), (4_570_624, 4_575_235, 4_310_401), (512, 2, 2), 2048),
    ("dcgan", (3, 32, 32), (DEPTH_3,), (5_156_736, 5_179_907, 4_116_225), (512, 4, 4), 8192),
    ("dcgan", (3, 64, 64), (LATENTS,), (5_127_652, 5_150_723, 4_316_545), (512, 4, 4), 8192),
    (
        *("dcgan", (3, 64, 64), (LATENTS, "generator.width=1024")),
        *((18_856_804, 18_903_043, 17_234_689), (1024, 4, 4), 16384),
    ),
    ("mnist", (1, 28, 28), (), (1_436_516, 52_834_561, 1_030_913), (256, 4, 4), 4096),
    ("stacked_mnist", (3, 28, 28), (), (133_712, 333_187, 1_293), (8, 4, 4), 512 // 4),
    ("sncnn", (3, 32, 32), (), (13_116_288, 13_129_731, 2_935_873), (512, 4, 4), 8192),
    ("sncnn", (3, 48, 48), (), (15_737_728, 15_771_651, 2_946_113), (512, 6, 6), 18432),
    ("resnet", (3, 32, 32), (), (4_273_024, 4_276_739, 1_103_373), (128, 8, 8), 8192),
    ("resnet", (3, 48, 48), (), (7_184_512, 4_878_083, 20_236_813), (1024, 3, 3), 9216),
]


@pytest.mark.parametrize(("choice", "shape", "overrides", "counts", "phi", "length"), SIZES)
def test_sizes_as_published(choice, shape, overrides, counts, phi, length):
    with torch.device("meta"):  # sizes only: nothing is allocated or computed
        networks = built(f"dist_gan_{choice}", shape, *overrides)
        codes = networks["encoder"](torch.zeros(2, *shape))
        images = networks["generator"](codes)
        local, _ = networks["discriminator"].features(images)
    for name, count in zip(("encoder", "generator", "discriminator"), counts, strict=True):
        assert parameters(networks[name]) == count, name
    assert codes.shape == (2, networks["generator"].latent_dim)
    assert images.shape == (2, *shape)
    assert local.shape == (2, *phi) and local.flatten(1).shape == (2, length)


def test_gan_heads_read_phi_whole_or_its_sum():
    for choice, pools in (("dist_gan_sncnn", False), ("dist_gan_resnet", True)):
        network = built(choice, (3, 32, 32), width=16)["discriminator"]
        _, local, pooled = network(torch.randn(2, 3, 32, 32))
        expected = local.sum((2, 3)) if pools else local.flatten(1)
        torch.testing.assert_close(pooled, expected)


# Every encoder and every resolution ---------------------------------------------------------------

ENCODERS = {
    ResNetEncoder: ({}, (32, 48, 64, 128)),
    SNCNNEncoder: ({}, (32, 48)),
    DCGANEncoder: ({"kernel_size": 5}, (16, 28, 32, 48, 64, 128)),
}
CASES = [(make, size) for make, (_, sizes) in ENCODERS.items() for size in sizes]


@pytest.mark.parametrize(("make", "size"), CASES, ids=str)
def test_codes_and_gradients(make, size):
    options, _ = ENCODERS[make]
    encoder = make(shape=(1, size, size), latent_dim=5, width=16, **options)
    images = torch.randn(3, 1, size, size, requires_grad=True)
    codes = encoder(images)
    assert codes.shape == (3, 5)
    codes.square().sum().backward()
    assert images.grad.flatten(1).any(1).all()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name
        if "weight" in name:
            assert parameter.grad.any(), name


OF_DIST_GAN = {"kernel_size": 5, "initialisation": "xavier"}
GENERATORS = {
    "cifar": (32, {"depth": 4, "first_norm": "unit"}),
    "mnist": (28, {"fit": "linear", "first_norm": "unit"}),
    "stacked": (28, {"tail": "convolution", "first_norm": "unit"}),
    "deep": (28, {"depth": 4, "fit": "linear", "upsampling": "nearest", "tail": "convolution"}),
    "48": (48, {"depth": 5, "last_upsampling": "bilinear"}),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_of_every_shape_train_all_their_weights(name):
    size, options = GENERATORS[name]
    generator = DCGANGenerator(shape=(3, size, size), width=32, **OF_DIST_GAN, **options)
    images = generator(torch.randn(4, generator.latent_dim))
    assert images.shape == (4, 3, size, size) and images.abs().max() <= 1
    images.square().sum().backward()
    assert all(p.grad.any() for n, p in generator.named_parameters() if "weight" in n)


@pytest.mark.parametrize(
    ("make", "shape", "options", "sentence"),
    [
        (SNCNNEncoder, (3, 64, 64), {}, "network=sncnn works on square images of 32, 48 px"),
        (ResNetEncoder, (3, 28, 28), {}, "network=resnet works on .* 32, 48, 64, 128 px"),
        (DCGANEncoder, (3, 40, 40), {}, "network=dcgan works on .* 16, 28, 32, 48, 64, 128 px"),
        (DCGANEncoder, (3, 28, 28), {}, "28 px lead to odd ones: set kernel_size=5"),
        (DCGANDiscriminator, (3, 28, 28), {"kernel_size": 4}, "set kernel_size=5"),
        (DCGANDiscriminator, (3, 32, 32), {"depth": 5}, "a depth of at most 4"),
        (DCGANGenerator, (3, 28, 28), {"depth": 5}, "a depth of at most 4"),
        (ResNetDiscriminator, (3, 32, 32), {"flat_heads": True, "pooling": "mean"}, "pooling=sum"),
        (ResNetDiscriminator, (3, 32, 32), {"downsampling": "max"}, "is not to be had: give"),
    ],
)
def test_what_there_is_not_is_refused_in_one_sentence(make, shape, options, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        make(shape=shape, width=16, **options)
    assert str(refused.value).count(". ") == 0


# Initial weights ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "choice", ["dist_gan_dcgan", "dist_gan_sncnn", "dist_gan_resnet", "dist_gan_stacked_mnist"]
)
def test_all_weights_are_xavier_uniform_with_gain_one(choice):
    size = 28 if "mnist" in choice else 32
    as_released = "discriminator.spectral_norm=false"
    for network in built(choice, (3, size, size), as_released, width=32).values():
        for module in network.modules():
            if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                continue
            weight = module.weight
            if weight.numel() < 2000:
                continue  # too few to tell the largest from the bound
            field = weight[0, 0].numel()
            bound = (6 / ((weight.shape[0] + weight.shape[1]) * field)) ** 0.5
            # Of 2000 uniform numbers the largest is within 1 % of the bound but for e^-20.
            assert 0.99 * bound < weight.abs().max().item() <= bound, module


# Options ------------------------------------------------------------------------------------------


def test_learned_downsampling_is_a_pointwise_convolution_of_stride_2():
    layer = halving(12, "learned", spectral_norm=False)
    features = torch.randn(2, 12, 6, 6)
    (weight, bias) = layer.parameters()
    torch.testing.assert_close(layer(features), F.conv2d(features, weight, bias, stride=2))


def test_where_blocks_halve():
    """With identity weights, learned halving keeps each second position."""
    options = {"preact_shortcut": "raw", "spectral_norm": False, "downsample": True}
    learned = DiscriminatorBlock(4, 6, downsampling="learned", wide=True, **options)
    first = DiscriminatorFirstBlock(3, 6, spectral_norm=False, downsampling="learned")
    for layer in (learned.halve, learned.halve_after, first.halve, first.halve_images):
        weight, bias = layer.parameters()
        nn.init.dirac_(weight), nn.init.zeros_(bias)
    features, images = torch.randn(2, 4, 8, 8), torch.randn(2, 3, 8, 8)
    hidden = learned.conv2(F.relu(learned.conv1(F.relu(features))))
    expected = (hidden + learned.shortcut(features))[..., ::2, ::2]
    torch.testing.assert_close(learned(features), expected)
    hidden = first.conv2(F.relu(first.conv1(images)))
    expected = (hidden + first.shortcut(images))[..., ::2, ::2]
    torch.testing.assert_close(first(images), expected)


def test_encoder_block_equals_its_definition():
    block = EncoderBlock(3, 5, slope=0.2)
    features = torch.randn(4, 3, 8, 8)

    def normalised(x):
        mean, variance = (
            x.mean((0, 2, 3), keepdim=True),
            x.var((0, 2, 3), keepdim=True, correction=0),
        )
        return F.leaky_relu((x - mean) / (variance + 1e-5).sqrt(), 0.2)

    hidden = block.conv2(normalised(block.conv1(normalised(features))))
    expected = F.avg_pool2d(hidden + block.shortcut(features), 2)
    torch.testing.assert_close(block(features), expected, rtol=1e-4, atol=1e-5)


def test_wide_blocks_have_the_outputs_channels_within():
    options = {"downsample": False, "preact_shortcut": "raw", "spectral_norm": False}
    for wide, between in ((False, 3), (True, 5)):
        block = DiscriminatorBlock(3, 5, wide=wide, **options)
        assert block.conv1.out_channels == block.conv2.in_channels == between


def test_a_transposed_convolution_of_odd_size_is_the_adjoint_of_one_that_halves():
    up = UpConvolution(2, 3, 5, upsampling="transposed", transposed_size=5)
    down = convolution(3, 2, 5, stride=2)
    with torch.no_grad():
        up.conv.weight.copy_(down.weight), up.conv.bias.zero_(), down.bias.zero_()
    small, large = torch.randn(1, 2, 7, 7), torch.randn(1, 3, 14, 14)
    assert up(small).shape == large.shape
    left, right = (up(small) * large).sum(), (small * down(large)).sum()
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def test_flat_heads_leave_the_output_layer_on_the_sum():
    options = {"shape": (3, 32, 32), "width": 16, "spectral_norm": False}
    plain = ResNetDiscriminator(**options)
    flat = ResNetDiscriminator(flat_heads=True, **options)
    flat.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    features = flat(images)
    torch.testing.assert_close(features.logits, plain(images).logits, rtol=1e-4, atol=1e-4)
    assert features.pooled.shape == (2, 16 * 8 * 8)
    assert flat.new_head(5)(features.pooled).shape == (2, 5)


def test_a_norm_for_every_unit_normalises_every_unit():
    """With one for a channel, the units of a channel differ in their means."""
    spreads = {}
    for first_norm in ("unit", "channel"):
        generator = DCGANGenerator(shape=(3, 32, 32), width=8, first_norm=first_norm)
        projected = generator.project(torch.randn(64, 100)[:, :, None, None])
        normed = generator.norms[0].norm(projected).reshape(64, *generator.bottom_shape)
        spreads[first_norm] = normed.mean(0).abs().max().item()
    # The affine part of the norm has bias 0: a mean over the batch is 0 to rounding.
    assert spreads["unit"] < 1e-5 < 1e-2 < spreads["channel"]


def test_mirrored_pairs_have_mirrored_sizes():
    for size, (generator, encoder) in itertools.product(
        (32, 48), [(ResNetGenerator, ResNetEncoder), (SNCNNGenerator, SNCNNEncoder)]
    ):
        made = generator(shape=(3, size, size), width=16)
        codes = encoder(shape=(3, size, size), width=16).to_code
        assert made.project.out_features == codes.in_features


def test_slopes():
    images = torch.randn(2, 3, 32, 32)
    for make in (SNCNNDiscriminator, DCGANDiscriminator):
        network = make(shape=(3, 32, 32), width=16, slope=0.0, **_last(make))
        assert (network(images).local == 0).any() and (network(images).local >= 0).all()
        network = make(shape=(3, 32, 32), width=16, slope=1.0, **_last(make))
        assert (network(images).local < 0).any()


def _last(make):
    return {"local_map": "last"} if make is DCGANDiscriminator else {}
