"""Networks: published sizes, exact identities of their layers, and what terms may rely on."""

import copy
import itertools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from torch import nn
from torch.nn.utils import parametrizations

from errors import UserError
from gans.networks.attention import SelfAttention
from gans.networks.conditional_batch_norm import ConditionalBatchNorm2d
from gans.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from gans.networks.layers import Float32Linear, pool
from gans.networks.lite import LiteDiscriminator, LiteGenerator
from gans.networks.mlp import MLPDiscriminator, MLPGenerator
from gans.networks.resnet import BACKBONES, ResNetDiscriminator, ResNetGenerator
from gans.networks.resnet_blocks import (
    DiscriminatorBlock,
    DiscriminatorFirstBlock,
    GeneratorBlock,
)
from gans.networks.spectral_norm import SpectralNorm, add_spectral_norm
from gans.networks.upsampling import UPSAMPLINGS, UpConvolution, upsample

CONF = Path(__file__).parent.parent / "conf"
PAIRS = {
    "resnet": (ResNetGenerator, ResNetDiscriminator, (32, 48, 64, 128)),
    "lite": (LiteGenerator, LiteDiscriminator, (16, 32, 64)),
    "dcgan": (DCGANGenerator, DCGANDiscriminator, (16, 32, 64, 128)),
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


# Every pair -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("pair", "size"), CASES)
@pytest.mark.parametrize(("channels", "num_classes"), [(1, 0), (3, 5)])
def test_shapes_ranges_and_gradients(pair, size, channels, num_classes):
    make_generator, make_discriminator, _ = PAIRS[pair]
    shape = (channels, size, size)
    # Wide enough that no weight is a scalar, to which spectral norm would leave its sign alone.
    generator = make_generator(shape=shape, num_classes=num_classes, width=32)
    discriminator = make_discriminator(shape=shape, num_classes=num_classes, width=32)
    assert generator.shape == shape and generator.num_classes == num_classes
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
    generator = MLPGenerator(shape=(2,), num_classes=num_classes)
    discriminator = MLPDiscriminator(shape=(2,), num_classes=num_classes)
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
    for network, shape in itertools.product(PAIRS[pair][:2], [(3, 40, 40), (3, 32, 64), (2,)]):
        with pytest.raises(UserError, match=f"network={pair} .* 32, .*64.* px, .*another network"):
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
    ],
)
def test_wrong_arguments_are_user_errors(network, option):
    with pytest.raises(UserError, match="choose"):
        network(shape=(3, 32, 32), width=WIDTH, **option)


@pytest.mark.parametrize("config", sorted(path.stem for path in (CONF / "network").glob("*.yaml")))
def test_every_network_config_builds_a_pair(config):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        network = compose(f"network/{config}").network
    shape = (2,) if config == "mlp" else (3, 32, 32)
    network.generator.width = network.discriminator.width = WIDTH
    generator = instantiate(network.generator, shape=shape, num_classes=3, _convert_="all")
    discriminator = instantiate(network.discriminator, shape=shape, num_classes=3, _convert_="all")
    labels = torch.tensor([0, 2])
    images = generator(torch.randn(2, generator.latent_dim), labels)
    assert discriminator(images, labels).logits.shape == (2, 1)


# Precision, batches -----------------------------------------------------------------------------


@pytest.mark.parametrize("pair", PAIRS)
def test_bfloat16_autocast_keeps_ends_in_float32(pair):
    make_generator, make_discriminator, _ = PAIRS[pair]
    shape = (3, 32, 32)
    generator = make_generator(shape=shape, num_classes=2, width=WIDTH).eval()
    discriminator = make_discriminator(shape=shape, num_classes=2, width=WIDTH).eval()
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
    for discriminator in tiny_discriminators(num_classes=2):
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
    mixing = [discriminator.mixes_samples for discriminator in tiny_discriminators()]
    assert mixing == [False, False, True]
    assert not DCGANDiscriminator(shape=(3, 32, 32), width=8, batch_norm=False).mixes_samples
    assert not MLPDiscriminator(shape=(2,)).mixes_samples


def test_joint_call_equals_separate_calls():
    for discriminator in tiny_discriminators(num_classes=2):
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
    discriminator = ResNetDiscriminator(shape=(3, 32, 32), num_classes=4, width=8).eval()
    labels = torch.tensor([2, 0, 3])
    features = discriminator(torch.randn(3, 3, 32, 32), labels)
    rows = discriminator.embed.weight[labels]
    expected = discriminator.head(features.pooled) + (rows * features.pooled).sum(1, keepdim=True)
    torch.testing.assert_close(features.logits, expected)
    head = discriminator.new_head(1).eval()
    difference = discriminator.logits(features.pooled, labels, head) - head(features.pooled)
    torch.testing.assert_close(difference, features.logits - discriminator.head(features.pooled))
    with pytest.raises(ValueError, match="needs labels"):
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
    for discriminator in tiny_discriminators(num_classes=3, spectral_norm=True):
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


# Spectral norm ----------------------------------------------------------------------------------

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
    layer = add_spectral_norm(nn.Linear(6, 1))
    x = torch.randn(2, 6)
    evaluated = layer.eval()(x)
    (layer.train()(x) - 2 * layer(x) + 3 * evaluated).sum().backward()
    # Of a 1 x 6 weight all three passes have the same norm, and the same gradient.
    together = layer.parametrizations.weight.original.grad.clone()
    layer.zero_grad()
    (2 * layer(x)).sum().backward()
    torch.testing.assert_close(together, layer.parametrizations.weight.original.grad)


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
    generator = ResNetGenerator(shape=(3, 32, 32), num_classes=2, width=16, spectral_norm=True)
    for module in generator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert nn.utils.parametrize.is_parametrized(module)
        elif isinstance(module, nn.Embedding):
            assert not nn.utils.parametrize.is_parametrized(module)


@pytest.mark.parametrize("training", [True, False])
def test_conditional_batch_norm_equals_batch_norm_when_classes_agree(training):
    layer, plain = ConditionalBatchNorm2d(5, num_classes=3), nn.BatchNorm2d(5)
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


def test_conditional_batch_norm_uses_the_gain_of_each_class():
    layer = ConditionalBatchNorm2d(500, num_classes=4)
    assert layer.gain.weight.mean().item() == pytest.approx(1.0, abs=2e-3)
    assert layer.gain.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not layer.bias.weight.any()
    features, labels = torch.randn(3, 500, 2, 2), torch.tensor([3, 0, 3])
    ratio = layer(features, labels) / layer.norm(features)
    torch.testing.assert_close(ratio[..., 0, 0], layer.gain.weight[labels], rtol=1e-3, atol=1e-3)
    with pytest.raises(ValueError, match="needs labels"):
        layer(features)


def test_last_batch_norm_of_a_conditional_generator_is_unconditional():
    conditional = ResNetGenerator(shape=(3, 32, 32), num_classes=7, width=16)
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


@pytest.mark.parametrize("kind", UPSAMPLINGS)
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_every_up_convolution_doubles_the_size(kind, kernel_size):
    layer = UpConvolution(4, 6, kernel_size, upsampling=kind)
    assert layer(torch.randn(2, 4, 5, 7)).shape == (2, 6, 10, 14)


def test_zero_insertion_tiles_the_spectrum():
    x = torch.randn(1, 2, 4, 4)
    doubled = upsample(x, "zero_insertion")
    assert torch.equal(doubled[..., ::2, ::2], x)
    assert doubled.abs().sum() == x.abs().sum()
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
