"""Critics: joint and separate looks, maps of patches, the plane of the class asked for."""

import contextlib

import pytest
import torch
from play import play

from saddlepoint.gans import CGANPD, SNGAN
from saddlepoint.gans.critic import Critic
from saddlepoint.gans.networks.conditions import Classes, Vectors
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator
from saddlepoint.gans.networks.patch import PatchDiscriminator
from saddlepoint.gans.networks.resnet import ResNetDiscriminator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import RelativisticPairing
from saddlepoint.losses.dag import DAG
from saddlepoint.losses.gradient_penalty import R1

SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 1, "precision": "32", "log_every": 1}
NETWORKS = {
    "lite": (LiteDiscriminator, (3, 16, 16)),
    "resnet": (ResNetDiscriminator, (3, 32, 32)),
    "mlp": (MLPDiscriminator, (2,)),
    "patch": (PatchDiscriminator, (3, 24, 16)),
}


def critic_of(network, joint_views=True):
    return Critic(network.eval(), contextlib.nullcontext, joint_views=joint_views)


@pytest.mark.parametrize("condition", [None, Classes(3), Vectors(3, 1)], ids=lambda c: str(c)[:7])
@pytest.mark.parametrize("name", NETWORKS)
def test_joint_and_separate_looks_agree(name, condition):
    make, shape = NETWORKS[name]
    network = make(shape=shape, condition=condition, width=16)
    views = {
        view: Items(image=torch.randn(n, *shape), index=torch.arange(n))
        for view, n in (("real", 5), ("fake", 3), ("turned", 1))
    }
    views["real"]["target"] = torch.zeros(5)  # a field of one view is nobody else's matter
    for view in views.values():
        if isinstance(condition, Classes):
            view["condition"] = torch.arange(view.count) % 3
        elif condition is not None:
            view["condition"] = torch.randn(view.count, 3)
    joint, apart = critic_of(network).look(views), critic_of(network, False).look(views)
    assert list(joint) == list(apart) == list(views)
    for view in views:
        assert len(joint[view].logits) == views[view].count
        for together, alone in zip(joint[view], apart[view], strict=True):
            torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_an_unconditional_network_is_not_told_the_condition():
    network = LiteDiscriminator(shape=(3, 16, 16), width=8)
    plain = Items(image=torch.randn(4, 3, 16, 16))
    asked = plain.but(condition=torch.arange(4))
    for joint_views in (True, False):
        critic = critic_of(network, joint_views)
        a, b = critic.look({"x": plain})["x"], critic.look({"x": asked})["x"]
        assert torch.equal(a.logits, b.logits)
    assert torch.equal(critic.logit(plain.image), critic.logit(plain.image, asked.condition))


def test_batch_norm_forbids_joint_looks():
    network = DCGANDiscriminator(shape=(3, 16, 16), width=8)
    assert not Critic(network, contextlib.nullcontext).joint_views
    assert critic_of(LiteDiscriminator(shape=(3, 16, 16), width=8)).joint_views


# Maps of patches --------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (64, 32)])
def test_one_logit_for_each_patch_of_images_of_any_size(size):
    network = PatchDiscriminator(shape=(3, 16, 16), width=8, depth=3).eval()
    features = network(torch.randn(2, 3, *size))
    small = tuple(side // 8 for side in size)
    assert features.logits.shape == (2, 1, *small)
    assert features.local.shape == features.pooled.shape == (2, 64 // 2, *small)
    # A patch of a patch discriminator has edges: a far change leaves a logit as it was.
    images = torch.randn(1, 3, 64, 64)
    changed = images.clone()
    changed[..., -8:, -8:] = 0
    difference = (network(images).logits - network(changed).logits)[0, 0]
    assert not difference[:4, :4].any() and difference[-1, -1] != 0


def test_a_class_picks_its_plane_of_the_map():
    condition = Classes(5)
    network = PatchDiscriminator(shape=(3, 16, 16), condition=condition, width=8, depth=2).eval()
    classes = torch.tensor([3, 0, 4, 3, 1, 2])
    features = network(torch.randn(6, 3, 16, 16), classes)
    planes = torch.einsum("kc,nchw->nkhw", network.embed.weight, features.pooled)
    own = planes[torch.arange(6), classes][:, None]
    torch.testing.assert_close(features.logits, network.head(features.pooled) + own)
    assert features.logits.shape == (6, 1, 4, 4)
    # Another class, another plane, whatever the image.
    other = network.logits(features.pooled, (classes + 1) % 5)
    assert not torch.isclose(other, features.logits).all(dim=(1, 2, 3)).any()
    with pytest.raises(ValueError, match="needs conditions"):
        network.logits(features.pooled)


def test_vectors_are_projected_on_every_patch():
    network = PatchDiscriminator(shape=(3, 16, 16), condition=Vectors(4, 1), width=8).eval()
    asked = torch.randn(3, 4)
    features = network(torch.randn(3, 3, 16, 16), asked)
    expected = torch.einsum("nv,cv,nchw->nhw", asked, network.embed.weight, features.pooled)[
        :, None
    ]
    torch.testing.assert_close(
        features.logits - network.head(features.pooled), expected, rtol=1e-4, atol=1e-5
    )


def test_heads_of_a_patch_discriminator_judge_every_patch():
    network = PatchDiscriminator(shape=(3, 16, 16), width=8, depth=2)
    head = network.new_head(7)
    assert head(torch.randn(2, network.pooled_features, 4, 4)).shape == (2, 7, 4, 4)
    assert repr(network.new_head(1)) == repr(network.head)


@pytest.mark.parametrize("condition", [None, Classes(3)], ids=["plain", "classes"])
def test_the_logit_of_a_map_is_its_mean(condition):
    network = PatchDiscriminator(shape=(3, 16, 16), condition=condition, width=8, depth=2)
    critic = critic_of(network)
    images, asked = torch.randn(4, 3, 16, 16), None if condition is None else torch.arange(4) % 3
    expected = network(images, asked).logits.mean((2, 3))
    torch.testing.assert_close(critic.logit(images, asked), expected)
    head = network.new_head(1).eval()
    _, pooled = network.features(images)
    expected = network.logits(pooled, asked, head).mean((2, 3))
    torch.testing.assert_close(critic.logit(images, asked, head=head), expected)
    vector = LiteDiscriminator(shape=(3, 16, 16), width=8)
    torch.testing.assert_close(critic_of(vector).logit(images), vector(images).logits)


@pytest.mark.parametrize("adversarial", [None, RelativisticPairing()], ids=["hinge", "pairs"])
@pytest.mark.parametrize("condition", [None, Classes(3)], ids=["plain", "classes"])
def test_a_gan_with_a_critic_of_patches_and_terms_plays(condition, adversarial):
    torch.manual_seed(0)
    method = SNGAN if condition is None else CGANPD
    generator = LiteGenerator(shape=(3, 16, 16), condition=condition, latent_dim=8, width=8)
    network = PatchDiscriminator(shape=(3, 16, 16), condition=condition, width=8, depth=2)
    terms = {"dag": DAG(), "r1": R1(1.0)}
    options = {"condition": condition, "adversarial": adversarial, "terms": terms}
    played = play(method(generator, network, **options, **SMALL))
    assert {"discriminator/dag", "generator/dag", "discriminator/r1"} <= set(played.last_losses)
