"""Spectral norms of many layers computed together, against each layer on its own."""

import contextlib
import copy
from functools import partial

import pytest
import torch
from play import play
from torch import nn

from saddlepoint.gans import SAGAN, SSGAN
from saddlepoint.gans.networks.conditions import Classes
from saddlepoint.gans.networks.joint_spectral_norm import JointSpectralNorm
from saddlepoint.gans.networks.lite import LiteDiscriminator, LiteGenerator
from saddlepoint.gans.networks.resnet import ResNetDiscriminator, ResNetGenerator
from saddlepoint.gans.networks.spectral_norm import add_spectral_norm

pytestmark = pytest.mark.numerical


def layers(dtype=torch.double):
    """Layers of every kind, some of one shape."""
    made = [nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 1)]
    made += [nn.ConvTranspose2d(3, 8, 4, 2, 1), nn.Linear(6, 4), nn.Linear(6, 4), nn.Linear(6, 1)]
    made += [nn.Embedding(10, 6)]
    return nn.ModuleList(add_spectral_norm(layer) for layer in made).to(dtype)


def states(network):
    """Original weights and norms of all layers."""
    lists = [layer.parametrizations.weight for layer in network]
    return [each.original for each in lists], [each[0] for each in lists]


def weighted_sum(weights, factors):
    return sum((w * f).sum() for w, f in zip(weights, factors, strict=True))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_together_is_one_by_one(memory_format):
    ours = layers().to(memory_format=memory_format)
    theirs = copy.deepcopy(ours)
    joint = JointSpectralNorm(ours)
    for _ in range(3):
        expected = [layer.weight for layer in theirs]
        factors = [torch.randn_like(weight) for weight in expected]
        weighted_sum(expected, factors).backward()
        with joint.computed():
            weights = [layer.weight for layer in ours]
            weighted_sum(weights, factors).backward()
        for mine, other in zip(weights, expected, strict=True):
            torch.testing.assert_close(mine, other)
        for (w, s), (w_other, s_other) in zip(
            zip(*states(ours), strict=True), zip(*states(theirs), strict=True), strict=True
        ):
            torch.testing.assert_close(w.grad, w_other.grad)
            torch.testing.assert_close(s.u, s_other.u)
            torch.testing.assert_close(s.v, s_other.v)
            assert w.grad.stride() == w.stride()  # as optimisers want it
            with torch.no_grad():
                step = 0.1 * torch.randn_like(w)
                w += step
                w_other += step
            w.grad = w_other.grad = None


def test_second_derivatives_are_those_of_each_layer():
    ours = layers()
    theirs = copy.deepcopy(ours)

    def second(network, weights):
        originals, _ = states(network)
        loss = sum((w**3).sum() for w in weights)
        gradients = torch.autograd.grad(loss, originals, create_graph=True)
        return torch.autograd.grad(sum((g**2).sum() for g in gradients), originals)

    with JointSpectralNorm(ours).computed():
        found = second(ours, [layer.weight for layer in ours])
    for mine, other in zip(states(ours)[1], states(theirs)[1], strict=True):
        other.load_state_dict(mine.state_dict())
    theirs.eval()  # u and v stay where the iteration left them
    for mine, other in zip(found, second(theirs, [layer.weight for layer in theirs]), strict=True):
        torch.testing.assert_close(mine, other)


def test_frozen_layers_iterate_too():
    network = layers().requires_grad_(False)
    twin = copy.deepcopy(network)
    with JointSpectralNorm(network).computed():
        for layer, other in zip(network, twin, strict=True):
            torch.testing.assert_close(layer.weight, other.weight)
            assert not layer.weight.requires_grad
    for mine, other in zip(states(network)[1], states(twin)[1], strict=True):
        torch.testing.assert_close(mine.u, other.u)


def test_all_passes_within_share_one_iteration_and_nothing_is_left_behind():
    network = layers()
    norm = network[0].parametrizations.weight[0]
    joint = JointSpectralNorm(network)
    before = norm.u.clone()
    with pytest.raises(KeyError), joint.computed():
        first, moved = network[0].weight, norm.u.clone()
        assert not torch.equal(moved, before)
        with JointSpectralNorm(network[0]).computed():
            assert network[0].weight is first
        assert network[0].weight is first
        assert torch.equal(norm.u, moved)
        raise KeyError
    assert network[0].weight is not first
    copy.deepcopy(network).load_state_dict(network.state_dict())


def test_layers_in_eval_mode_and_idle_ones_are_left_alone():
    network = layers()
    network[1].eval()
    with torch.no_grad():
        for weight in states(network)[0]:
            weight.normal_()
    before = [norm.v.clone() for norm in states(network)[1]]
    with JointSpectralNorm(network).computed(without=[network[0]]):
        assert [norm.ready is None for norm in states(network)[1]] == [True] * 2 + [False] * 7
    stayed = [torch.equal(v, norm.v) for v, norm in zip(before, states(network)[1], strict=True)]
    assert stayed == [True] * 2 + [False] * 7


def test_a_weight_that_nothing_depends_on_gets_no_gradient():
    network = layers()
    with JointSpectralNorm(network).computed():
        (network[0].weight.sum() + network[3].weight.sum()).backward()
    has_gradient = [weight.grad is not None for weight in states(network)[0]]
    assert has_gradient == [True, False, False, True] + [False] * 5


def test_it_finds_the_tensors_that_a_network_has_now():
    network = layers(torch.float32)
    joint = JointSpectralNorm(network)
    with joint.computed():
        pass
    network.double().to(memory_format=torch.channels_last)
    twin = copy.deepcopy(network)
    with joint.computed():
        for mine, other in zip(network, twin, strict=True):
            torch.testing.assert_close(mine.weight, other.weight)


def test_a_compiled_network_takes_them_as_inputs_of_one_graph():
    ours = LiteDiscriminator(shape=(3, 16, 16), width=8)
    theirs = copy.deepcopy(ours)
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    images = torch.randn(4, 3, 16, 16)
    joint, other = JointSpectralNorm(ours), JointSpectralNorm(theirs)
    for _ in range(2):
        with joint.computed(), other.computed():
            (compiled(images).logits.sum() + theirs(images).logits.sum()).backward()
        for mine, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, expected.grad)
            with torch.no_grad():
                mine -= 0.1 * mine.grad
                expected -= 0.1 * mine.grad
            mine.grad = expected.grad = None


# Twenty iterations ----------------------------------------------------------------------------


@contextlib.contextmanager
def one_by_one(self, without=()):
    """What `JointSpectralNorm.computed` does, written out: one layer after the other."""
    idle = {module for network in without for module in network.modules()}
    mine = []
    for layer in self._layers:
        norm = layer[0]
        if layer not in idle and norm.training and norm.ready is None:
            mine.append(norm)
            norm.ready = norm(layer.original)
    yield
    for norm in mine:
        norm.ready = None


def ssgan(**settings):
    options = {"shape": (3, 16, 16), "width": 8}
    return SSGAN(LiteGenerator(**options), LiteDiscriminator(**options), **settings)


def sagan(**settings):
    options = {"shape": (3, 32, 32), "width": 8, "condition": Classes(3), "attention": 1}
    return SAGAN(
        ResNetGenerator(**options, spectral_norm=True),
        ResNetDiscriminator(**options),
        condition=options["condition"],
        **settings,
    )


def after_twenty(make, nudge=0.0, **settings):
    torch.manual_seed(0)
    sgd = partial(torch.optim.SGD, lr=0.02)  # Adam would blow up the rounding of a gradient of 0
    settings |= {"discriminator_optimizer": sgd, "generator_optimizer": sgd, "n_dis": 1}
    game = make(iterations=20, batch_size=4, precision="32", **settings)
    with torch.no_grad():
        for parameter in game.parameters():
            parameter *= 1 + nudge * torch.randn_like(parameter)
    return torch.cat([p.detach().flatten().double() for p in play(game).parameters()])


@pytest.mark.parametrize("make", [ssgan, sagan])
@pytest.mark.parametrize("power_iterations", ["per_update", "per_pass"])
def test_twenty_iterations_lead_to_the_same_weights(make, power_iterations, monkeypatch):
    settings = {"power_iterations": power_iterations}
    ours = after_twenty(make, **settings)
    monkeypatch.setattr(JointSpectralNorm, "computed", one_by_one)
    plain = after_twenty(make, **settings)
    # As near as the plain path is to itself when the last bit of its initial weights is unsure.
    nudged = after_twenty(make, nudge=torch.finfo(torch.float32).eps, **settings)
    allowed = 10 * (nudged - plain).norm()
    assert (ours - plain).norm() < allowed
    assert allowed < 1e-2 * plain.norm()
