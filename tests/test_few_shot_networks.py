"""The few-shot translator and the multi-task discriminator: published sizes, exact identities."""

import pytest
import torch
import torch.nn.functional as F
from play import networks_of
from torch import nn
from train_cli import composed

from saddlepoint.errors import UserError
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.few_shot import AdaIN, ContentEncoder, FewShotTranslator
from saddlepoint.gans.networks.multi_task import MultiTaskBlock, MultiTaskDiscriminator

SHAPE, N, K = (3, 16, 16), 4, 3
SMALL = {"shape": SHAPE, "width": 4, "downs": 2, "class_downs": 2, "code": 5, "mlp_width": 8}


def translator():
    torch.manual_seed(0)
    return FewShotTranslator(**SMALL)


def images(n=N, seed=0, shape=SHAPE):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def discriminator(skip="clean"):
    torch.manual_seed(0)
    return MultiTaskDiscriminator(shape=SHAPE, condition=Classes(5), width=4, stages=2, skip=skip)


def count(module):
    return sum(p.numel() for p in module.parameters())


# Published sizes --------------------------------------------------------------------------------


def test_parameter_counts_and_shapes_of_the_published_networks():
    with torch.device("meta"):  # sizes only: nothing is allocated or computed
        networks = networks_of(composed(["gan=funit"]).network, (3, 128, 128), Classes(119))
        generator, critic = networks["generator"], networks["discriminator"]
        x, shots = torch.empty(2, 3, 128, 128), torch.empty(2, 5, 3, 128, 128)
        content, code = generator.content_encoder(x), generator.class_code(shots)
        assert content.shape == (2, 512, 16, 16) and code.shape == (2, 64)
        assert generator.mlp(code).shape == (2, 4096)
        assert generator(x, shots).shape == (2, 3, 128, 128)
        _, pooled = critic.features(x)
        assert critic.head(pooled).shape == (2, 119, 8, 8)
    assert count(generator) == 29_866_435
    assert count(generator.class_encoder) == 2_779_328
    assert count(generator.content_encoder) == 12_202_112
    assert count(generator.decoder) == 13_749_891
    assert count(generator.mlp) == 1_135_104
    assert count(critic) == 54_252_599
    # Two blocks of two norms, with a bias and a scale for each of 512 channels.
    norms = [m for m in generator.modules() if isinstance(m, AdaIN)]
    assert generator.decoder.count == sum(norm.count for norm in norms) == 4 * 2 * 512


def test_weights_begin_he_normal_and_biases_at_zero():
    torch.manual_seed(0)
    generator = FewShotTranslator(**{**SMALL, "width": 16})
    for layer in generator.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert not layer.bias.any()
            fan_in, total = layer.weight[0].numel(), layer.weight.numel()
            # The variance of `total` normal numbers is known to sqrt(2 / total).
            error = layer.weight.square().mean() * fan_in / 2 - 1
            assert error.abs() < 5 * (2 / total) ** 0.5


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [((2,), "translates images"), ((3, 18, 18), "multiples of 4"), ((3, 8, 8), "at least 16")],
)
def test_images_that_cannot_be_halved_so_often_are_refused(shape, sentence):
    with pytest.raises(UserError, match=sentence):
        FewShotTranslator(**{**SMALL, "shape": shape})


# The translator ---------------------------------------------------------------------------------


def test_the_class_code_is_the_mean_over_examples_in_any_order():
    generator, shots = translator(), images(N * K).unflatten(0, (N, K))
    code = generator.class_code(shots)
    each = torch.stack([generator.class_encoder(shots[:, k]) for k in range(K)])
    torch.testing.assert_close(code, each.mean(0))
    torch.testing.assert_close(generator.class_code(shots[:, [2, 0, 1]]), code)
    copies = shots[:, :1].expand(-1, 7, -1, -1, -1)
    torch.testing.assert_close(generator.class_code(copies), generator.class_code(shots[:, :1]))
    # And it is codes that are averaged: the MLP is not linear.
    numbers = torch.stack([generator.mlp(one) for one in each]).mean(0)
    assert not torch.allclose(generator.mlp(code), numbers, rtol=1e-3, atol=1e-3)


def test_a_batch_is_its_images_one_by_one_in_train_and_eval_mode():
    generator, x = translator(), images()
    shots = images(N * K, seed=1).unflatten(0, (N, K))
    together = generator.train()(x, shots)
    assert torch.equal(together, generator.eval()(x, shots))
    alone = torch.cat([generator(x[i : i + 1], shots[i : i + 1]) for i in range(N)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    several = generator.translations(x, shots, x[:, None])
    torch.testing.assert_close(several[0], together)
    torch.testing.assert_close(several[1], generator(x, x[:, None]))
    assert together.abs().max() <= 1


def test_adain_with_scale_one_and_bias_zero_is_instance_norm():
    maps = images(shape=(6, 5, 5)) * 3 + 1
    norm = AdaIN(6)
    plain = torch.cat([torch.zeros(N, 6), torch.ones(N, 6)], dim=1)
    torch.testing.assert_close(norm(maps, plain), F.instance_norm(maps))
    # Biases come first, and both are per image and channel.
    numbers = torch.randn(N, 12, generator=torch.Generator().manual_seed(0))
    flat = norm(maps, numbers).flatten(2)
    torch.testing.assert_close(flat.mean(2), numbers[:, :6], rtol=1e-4, atol=1e-5)
    spread = flat.var(2, unbiased=False).sqrt()
    torch.testing.assert_close(spread, numbers[:, 6:].abs(), rtol=1e-3, atol=1e-4)


def test_the_output_is_a_function_of_the_two_codes():
    generator = translator()
    content, code = generator.content_encoder(images(1)), torch.randn(2, 5)
    one, other = (generator.decode(content, code[k : k + 1]) for k in range(2))
    assert not torch.allclose(one, other, atol=1e-3)
    # Twice as much contrast is the same content, since every convolution is normalised: but for
    # the epsilon of the first norm. The class encoder sees it.
    doubled = generator.content_encoder(images(1) * 2)
    torch.testing.assert_close(doubled, content, rtol=1e-2, atol=1e-2)
    assert not torch.allclose(
        generator.class_encoder(images(1) * 2), generator.class_encoder(images(1)), rtol=1e-2
    )


def test_content_maps_are_normalised_before_the_skip():
    encoder = ContentEncoder(3, 4, downs=1, blocks=0)
    maps = encoder(images())
    assert maps.shape == (N, 8, 8, 8) and maps.min() >= 0


# The discriminator ------------------------------------------------------------------------------


def test_an_image_is_judged_by_the_plane_of_its_class():
    critic, x, asked = discriminator(), images(), torch.tensor([0, 4, 2, 2])
    seen = critic(x, asked)
    _, pooled = critic.features(x)
    planes = critic.head(pooled)
    expected = torch.stack([planes[i, k] for i, k in enumerate(asked)])[:, None]
    assert torch.equal(seen.logits, expected) and seen.logits.shape == (N, 1, 8, 8)
    assert torch.equal(F.leaky_relu(seen.local, 0.2), seen.pooled)
    assert critic.is_conditional and not critic.mixes_samples


def test_no_other_plane_gets_a_gradient():
    critic = discriminator()
    critic(images(), torch.tensor([1, 3, 1, 3])).logits.square().sum().backward()
    moved = critic.head.weight.grad.flatten(1).abs().sum(1) > 0
    assert moved.tolist() == [False, True, False, True, False]
    assert (critic.head.bias.grad != 0).tolist() == moved.tolist()


def test_a_class_without_a_plane_raises():
    critic = discriminator()
    with pytest.raises(RuntimeError, match="out of bounds"):
        critic(images(), torch.tensor([0, 1, 2, 5]))
    with pytest.raises(ValueError, match="needs classes"):
        critic(images())
    with pytest.raises(UserError, match="condition=classes"):
        MultiTaskDiscriminator(shape=SHAPE)


@pytest.mark.parametrize("skip", ["clean", "reference"])
@pytest.mark.parametrize("channels", [(6, 6), (6, 9)])
def test_a_block_in_one_line(skip, channels):
    torch.manual_seed(0)
    block, x = MultiTaskBlock(*channels, skip), images(shape=(6, 8, 8))
    act = torch.nn.LeakyReLU(0.2)

    def conv(layer, maps, padding):
        padded = F.pad(maps, [padding] * 4, mode="reflect") if padding else maps
        return F.conv2d(padded, layer.weight, layer.bias)

    branch = conv(block.conv2, act(conv(block.conv1, act(x), 1)), 1)
    if channels[0] != channels[1]:
        # The released shortcut convolution reads its input before the activation overwrites it.
        skipped = conv(block.shortcut, x, 0)
        assert block.shortcut.bias is None
    else:
        skipped = act(x) if skip == "reference" else x
    torch.testing.assert_close(block(x), skipped + branch)


def test_the_reference_skip_is_the_activation_in_place():
    """The same forward pass written as the released code has it."""
    critic, x = discriminator("reference"), images()

    def block_in_place(block, maps):
        skipped = block.shortcut(maps) if block.shortcut is not None else maps
        hidden = block.conv1(F.leaky_relu(maps, 0.2, inplace=True))
        return skipped + block.conv2(F.leaky_relu(hidden, 0.2, inplace=True))

    with torch.no_grad():
        maps = critic.first(x)
        for number, stage in enumerate(critic.stages):
            if number:
                maps = F.avg_pool2d(nn.ReflectionPad2d(1)(maps), 3, stride=2)
            for block in stage:
                maps = block_in_place(block, maps)
        torch.testing.assert_close(maps, critic.features(x)[0])
        assert not torch.allclose(maps, discriminator("clean").features(x)[0], atol=1e-3)


def test_heads_of_terms_read_every_position():
    critic, x = discriminator(), images()
    _, pooled = critic.features(x)
    assert critic.logits(pooled, torch.zeros(N).long(), critic.new_head(1)).shape == (N, 1, 8, 8)
