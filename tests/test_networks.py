"""Networks: published sizes, exact identities of their layers, and what terms may rely on."""

import copy
import itertools
from functools import partial
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from play import networks_of
from torch import nn
from train_cli import networks_fed_with_latents

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from saddlepoint.gans.networks.layers import Float32Linear, pool
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator, MLPGenerator
from saddlepoint.gans.networks.resnet import BACKBONES, ResNetDiscriminator, ResNetGenerator
from saddlepoint.gans.networks.resnet_blocks import GeneratorBlock
from saddlepoint.gans.networks.sncnn import SNCNNDiscriminator, SNCNNGenerator

pytestmark = pytest.mark.numerical

CONF = Path(__file__).parent.parent / "conf"
PAIRS = {
    "resnet": (ResNetGenerator, ResNetDiscriminator, (32, 48, 64, 128)),
    "lite": (LiteGenerator, LiteDiscriminator, (16, 32, 64)),
    "lite_patches": (
        partial(LiteGenerator, patch_size=2, depth=2),
        partial(LiteDiscriminator, patch_size=2, depth=2),
        (16, 32, 64),
    ),
    "dcgan": (DCGANGenerator, DCGANDiscriminator, (16, 32, 48, 64, 128)),
    "sncnn": (SNCNNGenerator, SNCNNDiscriminator, (32, 48)),
}
CASES = [(pair, size) for pair, (_, _, sizes) in PAIRS.items() for size in sizes]
WIDTH = 16


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def tiny_discriminators(size=32, **options):
    for pair in PAIRS:
        yield PAIRS[pair][1](shape=(3, size, size), width=WIDTH, **options)


# Published sizes --------------------------------------------------------------------------------

SIZES = {
    # generator, discriminator, with SSGAN's head, with InfoMax-GAN's heads; local map; pooled
    32: (4_276_739, 1_053_825, 1_054_341, 1_615_233, (128, 8, 8), 128),
    48: (4_878_083, 10_141_441, 10_145_541, 14_603_521, (512, 3, 3), 1024),
    64: (12_220_675, 10_141_441, 10_145_541, 14_603_521, (512, 4, 4), 1024),
    128: (32_150_787, 29_017_857, 29_021_957, 35_315_457, (1024, 4, 4), 1024),
}


@pytest.mark.parametrize("size", SIZES)
def test_parameter_counts_of_the_published_resnets(size):
    generator_count, count, with_rotation, with_infomax, _, d = SIZES[size]
    with torch.device("meta"):  # sizes only: nothing is allocated or computed
        generator = ResNetGenerator(shape=(3, size, size))
        discriminator = ResNetDiscriminator(shape=(3, size, size), spectral_norm=False)
        c = discriminator.local_channels
        rotation = discriminator.new_head(4)
        infomax = [discriminator.new_local_head(n) for n in (c, 1024, 1024)]
        infomax += [discriminator.new_head(n) for n in (d, 1024, 1024)]
    assert parameters(generator) == generator_count
    assert parameters(discriminator) == count
    assert parameters(discriminator, rotation) == with_rotation
    assert parameters(discriminator, *infomax) == with_infomax


def test_spectral_norm_adds_no_parameters():
    assert parameters(ResNetDiscriminator(shape=(3, 32, 32))) == SIZES[32][1]
    critic = ResNetDiscriminator(shape=(3, 32, 32), spectral_norm=False, pooling="mean")
    assert parameters(critic) == SIZES[32][1]


@pytest.mark.parametrize("size", SIZES)
def test_features_of_the_published_resnets(size):
    *_, (c, h, w), d = SIZES[size]
    with torch.device("meta"):
        published = ResNetDiscriminator(shape=(3, size, size), spectral_norm=False)
    assert (published.local_channels, published.pooled_features) == (c, d)
    narrow = ResNetDiscriminator(shape=(3, size, size), width=d // 16)
    features = narrow(torch.zeros(2, 3, size, size))
    assert features.local.shape == (2, c // 16, h, w)
    assert features.pooled.shape == (2, d // 16)


def test_width_scales_the_published_channels():
    for size, backbone in BACKBONES.items():
        width = max(backbone.discriminator) // 8
        narrow = ResNetDiscriminator(shape=(3, size, size), width=width)
        assert narrow.local_channels == backbone.discriminator[-2] // 8
        assert narrow.pooled_features == backbone.discriminator[-1] // 8
        assert narrow.trunk[0].conv1.out_channels == backbone.discriminator[0] // 8


def test_xavier_gains():
    block = GeneratorBlock(64, 64, upsampling="nearest")
    bound = (6 / (64 * 9 + 64 * 9)) ** 0.5
    assert block.conv2.weight.abs().max().item() == pytest.approx(2**0.5 * bound, rel=1e-2)
    assert block.conv1.conv.weight.abs().max().item() == pytest.approx(2**0.5 * bound, rel=1e-2)
    bound = (6 / (64 + 64)) ** 0.5
    assert block.shortcut.conv.weight.abs().max().item() == pytest.approx(bound, rel=1e-2)


def test_dcgan_is_initialised_and_normalised_as_in_the_paper():
    generator = DCGANGenerator(shape=(3, 64, 64))
    discriminator = DCGANDiscriminator(shape=(3, 64, 64))
    normalised = []
    for module in [*generator.modules(), *discriminator.modules()]:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.05)
        elif isinstance(module, nn.BatchNorm2d):
            assert module.weight.mean().item() == pytest.approx(1.0, abs=0.02)
            assert module.weight.std().item() == pytest.approx(0.02, rel=0.3)
            normalised.append(module.num_features)
    assert normalised == [512, 256, 128, 64, 128, 256, 512]
    assert discriminator.pooled_features == 4 * 4 * 512


def test_patches_leave_out_the_largest_maps():
    generator, discriminator = (make(shape=(3, 32, 32)) for make in PAIRS["lite_patches"][:2])
    assert parameters(*generator.convs) == sum(
        (9 * a + 1) * b for a, b in [(128, 128), (128, 128), (128, 64), (64, 64)]
    )
    assert parameters(*discriminator.convs) == sum(
        (k * a + 1) * b for k, a, b in [(16, 64, 128), (9, 128, 128), (16, 128, 128), (9, 128, 128)]
    )
    sizes = []
    for conv in (generator.to_image, discriminator.from_image):
        conv.register_forward_hook(lambda _, inputs, __: sizes.append(tuple(inputs[0].shape[1:])))
    images = generator(torch.randn(1, 64))
    discriminator(images)
    assert sizes == [(64, 16, 16), (12, 16, 16)]
    patch = images[0, :, 4:6, 8:10].flatten()  # of one position
    torch.testing.assert_close(nn.functional.pixel_unshuffle(images, 2)[0, :, 2, 4], patch)


# Every pair -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pair", "size"), CASES)
@pytest.mark.parametrize(("channels", "num_classes"), [(1, 0), (3, 5)])
def test_shapes_ranges_and_gradients(pair, size, channels, num_classes):
    make_generator, make_discriminator, _ = PAIRS[pair]
    shape = (channels, size, size)
    # Wide enough that no weight is a scalar, to which spectral norm would leave its sign alone.
    condition = Classes(num_classes) if num_classes else None
    generator = make_generator(shape=shape, condition=condition, width=32)
    discriminator = make_discriminator(shape=shape, condition=condition, width=32)
    assert generator.shape == shape and discriminator.is_conditional == bool(num_classes)
    labels = torch.tensor([0, num_classes - 1]) if num_classes else None
    for training in (False, True):
        generator.train(training), discriminator.train(training)
        images = generator(torch.randn(2, generator.latent_dim), labels)
        features = discriminator(images, labels)
        assert images.shape == (2, *shape) and images.abs().max() <= 1
        assert features.logits.shape == (2, 1)
        assert features.local.shape[:2] == (2, discriminator.local_channels)
        assert features.pooled.shape == (2, discriminator.pooled_features)
    features.logits.sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.isfinite().all(), name
            if name.endswith(("weight", "original")):
                assert parameter.grad.any(), name


@pytest.mark.parametrize("num_classes", [0, 8])
def test_mlp(num_classes):
    condition = Classes(num_classes) if num_classes else None
    generator = MLPGenerator(shape=(2,), condition=condition)
    discriminator = MLPDiscriminator(shape=(2,), condition=condition)
    assert parameters(MLPGenerator(shape=(2,))) == 3 * 128 + 2 * 129 * 128 + 129 * 2
    assert parameters(MLPDiscriminator(shape=(2,))) == 3 * 128 + 2 * 129 * 128 + 129
    labels = torch.arange(4) if num_classes else None
    with torch.autocast("cpu", torch.bfloat16):  # which must not touch points
        points = generator(torch.randn(4, 2), labels)
        features = discriminator(points, labels)
    assert points.shape == (4, 2) and points.dtype == torch.float32
    assert torch.equal(features.logits, discriminator(points, labels).logits)
    assert features.local.shape == (4, 128, 1, 1) and features.pooled.shape == (4, 128)
    if num_classes:
        same = torch.zeros(1, 2).expand(4, 2)
        assert not torch.equal(*generator(same, labels)[:2])


@pytest.mark.parametrize("pair", PAIRS)
def test_unsupported_shapes_name_the_supported_ones(pair):
    name = pair.removesuffix("_patches")
    for network, shape in itertools.product(PAIRS[pair][:2], [(3, 40, 40), (3, 32, 64), (2,)]):
        with pytest.raises(UserError, match=f"network={name} .* 32, .* px, .*another network"):
            network(shape=shape)


@pytest.mark.parametrize(
    ("network", "option"),
    [
        (ResNetGenerator, {"upsampling": "cubic"}),
        (ResNetGenerator, {"last_upsampling": "cubic"}),
        (ResNetGenerator, {"attention": 4}),
        (ResNetDiscriminator, {"attention": 0}),
        (ResNetDiscriminator, {"attention": 4}),
        (ResNetDiscriminator, {"pooling": "max"}),
        (ResNetDiscriminator, {"preact_shortcut": "none"}),
        (LiteGenerator, {"upsampling": "cubic"}),
        (LiteDiscriminator, {"pooling": "max"}),
        (LiteDiscriminator, {"kernel_size": 5}),
        (DCGANGenerator, {"upsampling": "cubic"}),
        (DCGANDiscriminator, {"pooling": "max"}),
        (SNCNNDiscriminator, {"slope": -0.1}),
    ],
)
def test_wrong_arguments_are_user_errors(network, option):
    with pytest.raises(UserError, match="is not to be had: give|choose 1 to"):
        network(shape=(3, 32, 32), width=WIDTH, **option)


@pytest.mark.parametrize("config", networks_fed_with_latents())
def test_every_network_config_builds_a_pair(config):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        network = compose(f"network/{config}").network
    shape = (2,) if config == "mlp" else (3, 32, 32)
    networks = networks_of(network, shape, Classes(3), width=WIDTH)
    labels = torch.tensor([0, 2])
    latents = torch.randn(2, networks["generator"].latent_dim)
    images = networks["generator"](latents, labels)
    codes = networks["encoder"](images) if "encoder" in networks else latents
    assert codes.shape == latents.shape
    judged = codes if "shape" in network.discriminator else images
    assert networks["discriminator"](judged, labels).logits.shape == (2, 1)


# Precision, batches -----------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS)
def test_bfloat16_autocast_keeps_ends_in_float32(pair):
    make_generator, make_discriminator, _ = PAIRS[pair]
    shape = (3, 32, 32)
    generator = make_generator(shape=shape, condition=Classes(2), width=WIDTH).eval()
    discriminator = make_discriminator(shape=shape, condition=Classes(2), width=WIDTH).eval()
    latents, labels = torch.randn(4, generator.latent_dim), torch.tensor([0, 1, 0, 1])
    exact = discriminator(generator(latents, labels), labels)
    with torch.autocast("cpu", torch.bfloat16):
        images = generator(latents, labels)
        features = discriminator(images, labels)
        extra = discriminator.new_head(4)(features.pooled)
    assert images.dtype == features.logits.dtype == features.pooled.dtype == torch.float32
    assert extra.dtype == torch.float32
    assert features.local.dtype == torch.bfloat16  # the convolutions themselves are fast
    torch.testing.assert_close(features.logits, exact.logits, rtol=0.05, atol=0.05)


def test_channels_last_changes_nothing_but_the_memory_format():
    for discriminator in tiny_discriminators():
        images = torch.randn(3, 3, 32, 32)
        other = copy.deepcopy(discriminator).to(memory_format=torch.channels_last)
        for _ in range(2):
            expected = discriminator(images)
            features = other(images.contiguous(memory_format=torch.channels_last))
            for value, reference in zip(features, expected, strict=True):
                torch.testing.assert_close(value, reference, rtol=1e-4, atol=1e-4)


def test_without_batch_norm_an_image_is_judged_alone():
    for discriminator in tiny_discriminators(condition=Classes(2)):
        discriminator.train()
        images, labels = torch.randn(6, 3, 32, 32), torch.tensor([0, 1, 1, 0, 1, 0])
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        # One power iteration lies between two calls in training mode: undo it.
        twin = copy.deepcopy(discriminator)
        part = copy.deepcopy(discriminator)(images[:2], labels[:2]).logits
        logits = discriminator(images, labels).logits
        permuted = twin(images[order], labels[order]).logits
        torch.testing.assert_close(permuted, logits[order], rtol=1e-4, atol=1e-5)
        same = torch.allclose(part, logits[:2], rtol=1e-4, atol=1e-5)
        assert same != discriminator.mixes_samples


def test_which_networks_mix_samples():
    each = zip(PAIRS, tiny_discriminators(), strict=True)
    assert [pair for pair, discriminator in each if discriminator.mixes_samples] == ["dcgan"]
    assert not DCGANDiscriminator(shape=(3, 32, 32), width=8, batch_norm=False).mixes_samples
    assert not MLPDiscriminator(shape=(2,)).mixes_samples


def test_joint_call_equals_separate_calls():
    for discriminator in tiny_discriminators(condition=Classes(2)):
        discriminator.eval()
        real, fake = torch.randn(2, 3, 3, 32, 32)
        labels = torch.tensor([0, 1, 1])
        joint = discriminator(torch.cat([real, fake]), labels.repeat(2))
        for part, images in enumerate((real, fake)):
            apart = discriminator(images, labels)
            for together, alone in zip(joint, apart, strict=True):
                torch.testing.assert_close(together.chunk(2)[part], alone, rtol=1e-4, atol=1e-5)


def test_spectrally_normalised_networks_compile_in_one_graph():
    discriminator = LiteDiscriminator(shape=(3, 16, 16), width=8)
    twin = copy.deepcopy(discriminator)
    compiled = torch.compile(twin, backend="eager", fullgraph=True)
    images = torch.randn(2, 3, 16, 16)
    for _ in range(2):  # the second call finds the buffers that the first one left
        logits, expected = compiled(images).logits, discriminator(images).logits
        torch.testing.assert_close(logits, expected)
    logits.sum().backward(), expected.sum().backward()
    for parameter, reference in zip(twin.parameters(), discriminator.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, reference.grad)


# Discriminator base class -----------------------------------------------------------------------


def test_projection():
    discriminator = ResNetDiscriminator(shape=(3, 32, 32), condition=Classes(4), width=8).eval()
    labels = torch.tensor([2, 0, 3])
    features = discriminator(torch.randn(3, 3, 32, 32), labels)
    rows = discriminator.embed.weight[labels]
    expected = discriminator.head(features.pooled) + (rows * features.pooled).sum(1, keepdim=True)
    torch.testing.assert_close(features.logits, expected)
    head = discriminator.new_head(1).eval()
    difference = discriminator.logits(features.pooled, labels, head) - head(features.pooled)
    torch.testing.assert_close(difference, features.logits - discriminator.head(features.pooled))
    with pytest.raises(ValueError, match="needs conditions"):
        discriminator.logits(features.pooled)


@pytest.mark.parametrize("spectral_norm", [True, False])
def test_heads_are_like_the_output_layer(spectral_norm):
    for discriminator in tiny_discriminators(spectral_norm=spectral_norm):
        head, local_head = discriminator.new_head(5), discriminator.new_local_head(6)
        local, pooled = discriminator.features(torch.randn(2, 3, 32, 32))
        assert head(pooled).shape == (2, 5)
        assert local_head(local).shape == (2, 6, *local.shape[2:])
        assert isinstance(head, Float32Linear) and isinstance(discriminator.head, Float32Linear)
        for layer in (head, local_head, discriminator.head):
            assert nn.utils.parametrize.is_parametrized(layer, "weight") == spectral_norm


def test_every_weight_of_a_spectrally_normalised_network_has_norm_one():
    kinds = nn.Conv2d | nn.Linear | nn.Embedding
    for discriminator in tiny_discriminators(condition=Classes(3), spectral_norm=True):
        for layer in [m for m in discriminator.modules() if isinstance(m, kinds)]:
            with torch.no_grad():
                for _ in range(100):
                    weight = layer.weight  # one power iteration each
            norm = torch.linalg.matrix_norm(weight.flatten(1), 2).item()
            assert norm == pytest.approx(1.0, abs=0.02)


def test_pool():
    features = torch.arange(24.0).view(2, 3, 2, 2)
    assert torch.equal(pool(features, "sum"), features.sum((2, 3)))
    assert torch.equal(pool(features, "mean"), features.mean((2, 3)))
    assert torch.equal(pool(features.bfloat16(), "flatten"), features.flatten(1))
    # 257 ones, of which bfloat16 could only count 256.
    assert pool(torch.ones(1, 1, 257, 1).bfloat16(), "sum").item() == 257
