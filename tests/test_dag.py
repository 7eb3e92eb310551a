"""DAG: what each head sees, what it costs, and the cases in which it must be the base game."""

import math

import pytest
import torch
from play import play, snapshot
from torch import Tensor, nn

from saddlepoint.errors import UserError
from saddlepoint.gans import DAGGAN, SNGAN, WGANGP
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.dcgan import DCGANDiscriminator
from saddlepoint.gans.networks.discriminator import Discriminator
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.mlp import MLPDiscriminator, MLPGenerator
from saddlepoint.items import Items
from saddlepoint.losses.adversarial import Hinge, LeastSquares, Minimax, NonSaturating, Wasserstein
from saddlepoint.losses.dag import DAG
from saddlepoint.losses.gradient_penalty import R1, R2, WassersteinGradientPenalty
from saddlepoint.losses.rotation import rotate
from saddlepoint.losses.term import Step
from saddlepoint.losses.transformations import (
    IDENTITY,
    POLICIES,
    ROTATE_90,
    Transformation,
)
from saddlepoint.randomness import Draws

pytestmark = pytest.mark.numerical

SHAPE = (3, 16, 16)
SMALL = {"iterations": 2, "batch_size": 8, "n_dis": 2, "precision": "32", "log_every": 1}
LOSSES = [Hinge(), Minimax(), NonSaturating(), Wasserstein(), LeastSquares()]
ALL_POLICIES = list(POLICIES)


class PatchDiscriminator(Discriminator):
    """A critic of patches: one logit for each position of a map, output layers are convolutions."""

    def __init__(self):
        super().__init__(condition=None, local_channels=8, pooled_features=8, spectral_norm=False)
        self.trunk = nn.Conv2d(3, 8, 4, stride=4)

    def features(self, images: Tensor) -> tuple[Tensor, Tensor]:
        local = torch.relu(self.trunk(images))
        return local, local

    def new_head(self, out_features: int) -> nn.Module:
        return nn.Conv2d(self.pooled_features, out_features, 3, padding=1)


def game(method=SNGAN, discriminator=None, num_classes=0, **settings):
    torch.manual_seed(0)
    condition = Classes(num_classes) if num_classes else None
    generator = LiteGenerator(shape=SHAPE, width=8, latent_dim=8, condition=condition)
    if discriminator is None:
        discriminator = LiteDiscriminator(
            shape=SHAPE, width=8, condition=condition, spectral_norm=False
        )
    return method(generator, discriminator, condition=condition, **{**SMALL, **settings})


def step_of(game, draws=None, n=6):
    """One update's numbers; reals and fakes come from the game."""
    generator = torch.Generator().manual_seed(1)
    classes = 1 if game.condition is None else game.condition.num_classes
    labels = torch.randint(classes, (n,), generator=generator)
    real = Items(image=torch.rand(n, *game.generator.shape, generator=generator) * 2 - 1)
    inputs = Items(latents=torch.randn(n, game.generator.latent_dim, generator=generator))
    if game.condition is not None:
        real, inputs = real.but(condition=labels), inputs.but(condition=labels.flip(0))
    return Step(0, 1, draws or Draws(0), inputs, [real])


def tie(game):
    """Give every head of the term the weights of the discriminator's own."""
    for head in game.terms["dag"].heads:
        head.load_state_dict(game.discriminator.head.state_dict())
    return game


def gradients(loss, module):
    found = torch.autograd.grad(
        loss, list(module.parameters()), retain_graph=True, allow_unused=True
    )
    return [torch.zeros(()) if g is None else g for g in found]


# The term ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policies", "options", "heads"),
    [
        (["rotation"], {}, 4),
        (["cropping"], {}, 5),
        (["rotation", "cropping"], {}, 9),
        (["rotation", "cropping", "translation", "cutout"], {}, 13),
        (["rotation", "cropping"], {"identity_head": "main"}, 7),
        (["rotation", "cropping"], {"include_identity": False}, 7),
        ("fliprot", {}, 4),
    ],
)
def test_head_counts(policies, options, heads):
    dag = DAG(policies=policies, **options)
    made = game(terms={"dag": dag})
    assert len(dag.heads) == heads
    # Each a linear layer like the main one, which is none of them.
    for head in dag.heads:
        assert repr(head) == repr(made.discriminator.head)
    assert not set(made.terms.parameters()) & set(made.discriminator.parameters())


def test_heads_have_the_normalisation_of_the_main_one():
    torch.manual_seed(0)
    discriminator = LiteDiscriminator(shape=SHAPE, width=8, spectral_norm=True)
    made = game(discriminator=discriminator, terms={"dag": DAG()})
    for head in made.terms["dag"].heads:
        assert torch.linalg.matrix_norm(head.weight, 2).item() == pytest.approx(1, abs=1e-4)


def test_weights_zero_are_exactly_the_base_game():
    base, without = play(game(SNGAN)), play(game(SNGAN, terms={"dag": DAG(0.0, 0.0)}))
    for name, tensor in base.state_dict().items():
        assert torch.equal(tensor, without.state_dict()[name]), name
    heads = without.terms["dag"].heads.parameters()
    assert all(p.grad is None for p in heads)


def test_dag_gan_is_sngan_with_the_term():
    a, b = play(game(DAGGAN)), play(game(SNGAN, terms={"dag": DAG()}))
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name
    with pytest.raises(UserError, match="terms=\\[dag\\]"):
        game(DAGGAN, terms={})


@pytest.mark.parametrize("adversarial", LOSSES, ids=lambda loss: type(loss).__name__)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_identity_transformations_with_tied_heads_scale_the_base_loss(adversarial, num_classes):
    nothing = [
        (IDENTITY, Transformation("a", lambda x: x), Transformation("b", lambda x: x)),
        (IDENTITY, Transformation("c", lambda x: x)),
    ]
    dag = DAG(policies=nothing, policy_weights=[1.5, 2.0])
    made = tie(game(adversarial=adversarial, num_classes=num_classes, terms={"dag": dag}))
    for player in ("discriminator", "generator"):
        losses = getattr(made, f"{player}_loss")(step_of(made))
        torch.testing.assert_close(losses["dag"], 0.2 * 3.5 * losses["adversarial"])


@pytest.mark.parametrize("joint_views", [True, False])
@pytest.mark.parametrize("num_classes", [0, 3])
def test_losses_are_the_sums_written_out(num_classes, joint_views):
    policies, weights = ["rotation", "cropping"], [1.0, 0.5]
    dag = DAG(0.3, 0.7, policies=policies, policy_weights=weights)
    made = game(num_classes=num_classes, terms={"dag": dag}, joint_views=joint_views)
    judge = made.discriminator

    def expected(step, player):
        heads, total = iter(dag.heads), 0.0
        for policy, weight in zip(policies, weights, strict=True):
            for transformation in POLICIES[policy]:
                head = next(heads)
                logits = [
                    judge.logits(
                        judge.features(transformation(side.image, None))[1],
                        side.get("condition"),
                        head,
                    )
                    for side in (step.real, step.fake)
                ]
                if player == "discriminator":
                    part = torch.relu(1 - logits[0]).mean() + torch.relu(1 + logits[1]).mean()
                else:
                    part = -logits[1].mean()
                total = total + weight / len(POLICIES[policy]) * part
        return total

    step = step_of(made)
    losses = made.discriminator_loss(step)
    torch.testing.assert_close(losses["dag"], 0.3 * expected(step, "discriminator"))
    step = step_of(made)
    losses = made.generator_loss(step)
    torch.testing.assert_close(losses["dag"], 0.7 * expected(step, "generator"))


@pytest.mark.parametrize("discriminator", [None, PatchDiscriminator()], ids=["vector", "patches"])
def test_heads_are_isolated(discriminator):
    """A head's logits give gradient to that head and the trunk, to no other head."""
    made = game(discriminator=discriminator, terms={"dag": DAG(1.0, 1.0)})
    dag = made.terms["dag"]
    for player in ("discriminator", "generator"):
        step = step_of(made)
        losses = getattr(made, f"{player}_loss")(step)
        sides = ("real", "fake") if player == "discriminator" else ("fake",)
        for k, (branch, logits) in enumerate(dag._judge(step, *sides)):
            assert branch.head is dag.heads[k]
            loss = sum(of_side.mean() for of_side in logits)
            for j, head in enumerate(dag.heads):
                reached = any(g.abs().sum() > 0 for g in gradients(loss, head))
                assert reached == (j == k)
            assert all(g.abs().sum() == 0 for g in gradients(loss, made.discriminator.head))
            trunk = [p for n, p in made.discriminator.named_parameters() if "head" not in n]
            found = torch.autograd.grad(loss, trunk, retain_graph=True)
            assert any(g.abs().sum() > 0 for g in found)
        # The main head, in turn, hears nothing of the term, nor the heads of the main game.
        assert all(g.abs().sum() == 0 for g in gradients(losses["dag"], made.discriminator.head))
        assert all(g.abs().sum() == 0 for g in gradients(losses["adversarial"], dag))


def test_rotated_views_are_of_all_images_and_of_the_same_angle_on_both_sides():
    made = game(terms={"dag": DAG()})
    step = step_of(made)
    made.discriminator_loss(step)
    for quarters, angle in enumerate(("", " rotated by 90", " rotated by 180", " rotated by 270")):
        assert torch.equal(step.views[f"real{angle}"].image, rotate(step.real.image, quarters))
        assert torch.equal(step.views[f"fake{angle}"].image, rotate(step.fake.image, quarters))
    assert len(step.views) == 8  # the identity's are those of the base game


def test_policies_that_ask_for_the_same_view_share_it():
    made = game(terms={"dag": DAG(policies=["rotation", "fliprot", "flipping"])})
    step = step_of(made)
    made.generator_loss(step)
    # 0, 90, 180, 270, upside down, mirrored.
    assert len(step.views) == 6
    assert len(made.terms["dag"].heads) == 12


@pytest.mark.parametrize("policy", ALL_POLICIES)
def test_gradients_reach_the_moving_player(policy):
    made = game(terms={"dag": DAG(policies=[policy], include_identity=False)})
    loss = made.generator_loss(step_of(made))["dag"]
    assert all(g.isfinite().all() for g in gradients(loss, made.generator))
    assert sum(g.abs().sum() for g in gradients(loss, made.generator)) > 0
    loss = made.discriminator_loss(step_of(made))["dag"]
    assert sum(g.abs().sum() for g in gradients(loss, made.generator)) == 0
    assert sum(g.abs().sum() for g in gradients(loss, made.discriminator)) > 0


def test_repeating_the_list_of_a_policy_changes_nothing():
    once = tie(game(terms={"dag": DAG(policies=[POLICIES["rotation"]])}))
    twice = tie(game(terms={"dag": DAG(policies=[POLICIES["rotation"] * 2])}))
    assert len(twice.terms["dag"].heads) == 8
    for player in ("discriminator", "generator"):
        a, b = (getattr(g, f"{player}_loss")(step_of(g))["dag"] for g in (once, twice))
        torch.testing.assert_close(a, b)


def test_divisor_counts_the_branches():
    """A main head for the identity: K parts of which one is the base loss. Without: K - 1 parts."""
    with_own = tie(game(terms={"dag": DAG(1.0, 1.0)}))
    with_main = tie(game(terms={"dag": DAG(1.0, 1.0, identity_head="main")}))
    without = tie(game(terms={"dag": DAG(1.0, 1.0, include_identity=False)}))
    for player in ("discriminator", "generator"):
        own, main, paper = (
            getattr(g, f"{player}_loss")(step_of(g)) for g in (with_own, with_main, without)
        )
        torch.testing.assert_close(own["dag"], main["dag"])
        torch.testing.assert_close(4 * own["dag"], 3 * paper["dag"] + paper["adversarial"])


def test_main_identity_head_just_weighs_the_main_loss():
    made = game(terms={"dag": DAG(policies=[(IDENTITY,)], identity_head="main")})
    assert len(made.terms["dag"].heads) == 0
    losses = made.discriminator_loss(step_of(made))
    torch.testing.assert_close(losses["dag"], 0.2 * losses["adversarial"])
    made = game(terms={"dag": DAG(identity_head="main")})
    loss = made.discriminator_loss(step_of(made))["dag"]
    assert sum(g.abs().sum() for g in gradients(loss, made.discriminator.head)) > 0


@pytest.mark.parametrize("inverse", [0, 1, 2, 3])
def test_a_head_on_the_inverse_transformation_plays_the_main_game(inverse):
    """The optimum is unchanged: f(T^-1 x) on T(x) is the main discriminator f on x."""

    class Undo(LiteDiscriminator):
        """Looks at images turned back by the angle of the one transformation of the test."""

        turned = False

        def features(self, images):
            return super().features(rotate(images, -inverse) if self.turned else images)

    torch.manual_seed(0)
    discriminator = Undo(shape=SHAPE, width=8, spectral_norm=False)
    rotation = (IDENTITY, POLICIES["rotation"][inverse])
    made = game(
        discriminator=discriminator,
        terms={"dag": DAG(1.0, 1.0, policies=[rotation], include_identity=False)}
        if inverse
        else {"dag": DAG(1.0, 1.0, policies=[(IDENTITY,)])},
    )
    tie(made)
    main = made.discriminator_loss(step_of(made))["adversarial"]
    discriminator.turned = True
    torch.testing.assert_close(made.discriminator_loss(step_of(made))["dag"], main)


# Other base losses --------------------------------------------------------------------------------


def test_wasserstein_heads_have_the_closed_form():
    """F_D(head) = w . (mean pooled of T(G(z)) - mean pooled of T(x)) for a linear head."""
    dag = DAG(1.0, 1.0, policies=["cropping"])
    made = game(adversarial=Wasserstein(), terms={"dag": dag})
    step = step_of(made)
    loss = made.discriminator_loss(step)["dag"]
    expected = 0.0
    for head, transformation in zip(dag.heads, POLICIES["cropping"], strict=True):
        means = [
            made.discriminator.features(transformation(side.image, None))[1].mean(0)
            for side in (step.fake, step.real)
        ]
        expected = expected + head.weight[0] @ (means[0] - means[1]) / 5
    torch.testing.assert_close(loss, expected)


def test_the_penalty_of_constant_critics_is_its_weight_per_head():
    for policies, weights in ((["rotation"], None), (["rotation", "cropping"], [1.0, 3.0])):
        dag = DAG(0.2, 0.2, policies=policies, policy_weights=weights)
        penalty = WassersteinGradientPenalty(10.0)
        made = game(WGANGP, terms={"gradient_penalty": penalty, "dag": dag})
        for head in [*dag.heads, made.discriminator.head]:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
        losses = made.discriminator_loss(step_of(made))
        assert losses["adversarial"].item() == 0
        assert losses["gradient_penalty"].item() == pytest.approx(10)
        assert losses["dag"].item() == pytest.approx(0.2 * 10 * sum(weights or [1.0]))


@pytest.mark.parametrize("penalty", [R1(7.0), R2(7.0)], ids=lambda p: type(p).__name__)
@pytest.mark.parametrize("num_classes", [0, 3])
def test_penalties_differentiate_each_head_at_its_own_images(penalty, num_classes):
    """One pass for all heads against one pass for each."""
    policies, weights = ["rotation", "flipping"], [1.0, 0.5]
    dag = DAG(1.0, 1.0, policies=policies, policy_weights=weights)
    terms = {"penalty": penalty, "dag": dag}
    made = game(adversarial=Wasserstein(), num_classes=num_classes, terms=terms)
    step = step_of(made)
    with_penalty = made.discriminator_loss(step)["dag"]
    assert step.penalties == [(7.0, penalty)]
    step.penalties = []
    without = dag.discriminator_loss(step)
    heads, expected, judge = iter(dag.heads), 0.0, made.discriminator
    for policy, weight in zip(policies, weights, strict=True):
        for transformation in POLICIES[policy]:
            head = next(heads)
            on_reals = isinstance(penalty, R1)
            side = step.real if on_reals else step.fake
            x = transformation(side.image, None).clone().requires_grad_()
            logits = judge.logits(judge.features(x)[1], side.get("condition"), head)
            (gradient,) = torch.autograd.grad(logits.sum(), x)
            part = 0.5 * gradient.flatten(1).square().sum(1).mean()
            expected += weight / 4 * 7.0 * part
    torch.testing.assert_close((with_penalty - without).detach(), expected)


def test_penalties_of_one_process_and_of_two_are_the_same():
    """Ranks 0 and 1 of two draw for their images what one process draws for those images."""

    def loss(step):
        dag = DAG(1.0, 1.0, policies=["rotation"])
        terms = {"gradient_penalty": WassersteinGradientPenalty(10.0), "dag": dag}
        made = game(WGANGP, terms=terms)
        made.generator.eval()
        return made.discriminator_loss(step)["dag"].item()

    whole, halves = step_of(game(), n=8), []
    for rank in range(2):
        half = step_of(game(), n=8, draws=Draws(0, rank=rank, world_size=2))
        own = slice(rank * 4, rank * 4 + 4)
        half.reals, half.inputs = [half.real.part(own)], half.inputs.part(own)
        halves.append(loss(half))
    assert loss(whole) == pytest.approx(sum(halves) / 2, rel=1e-5)


def test_wgan_gp_with_dag_trains():
    terms = {"gradient_penalty": WassersteinGradientPenalty(10.0), "dag": DAG()}
    played = game(WGANGP, terms=terms)
    before = snapshot(played.terms["dag"])
    play(played)
    after = snapshot(played.terms["dag"])
    assert all(not torch.equal(before[name], after[name]) for name in before if "weight" in name)
    assert all(math.isfinite(value) for value in played.last_losses.values())


def test_a_discriminator_with_batch_norm_looks_at_every_view_alone():
    sizes = []

    class Spy(DCGANDiscriminator):
        def features(self, images):
            sizes.append(len(images))
            return super().features(images)

    torch.manual_seed(0)
    played = play(game(discriminator=Spy(shape=SHAPE, width=8), terms={"dag": DAG()}), stop=1)
    assert not played.critic.joint_views
    assert sizes == [8] * (8 + 8 + 4)


def test_random_policies_train_alike_from_the_same_seed():
    policies = ["rotation", "cropping", "translation", "cutout"]
    a, b = (play(game(terms={"dag": DAG(policies=policies)})) for _ in range(2))
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"policies": ["spinning"]}, "no policy spinning"),
        ({"policies": []}, "nothing to transform by"),
        ({"policies": [(IDENTITY,)], "include_identity": False}, "nothing to transform by"),
        ({"policies": [(ROTATE_90,)]}, "begins with the identity"),
        ({"policy_weights": [1.0, 2.0]}, "1 policies and 2"),
        ({"identity_head": "both"}, "identity_head=both"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        DAG(**arguments)


def test_points_have_nothing_to_transform():
    networks = MLPGenerator(shape=(2,)), MLPDiscriminator(shape=(2,))
    with pytest.raises(UserError, match="points"):
        play(SNGAN(*networks, terms={"dag": DAG()}, **SMALL))
