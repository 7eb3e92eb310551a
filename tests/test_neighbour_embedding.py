"""Neighbour embedding: probabilities and their divergence, limiting cases, and its two parts."""

import math

import pytest
import torch

from saddlepoint.gans.networks.discriminator import Features
from saddlepoint.items import Items
from saddlepoint.losses.neighbour_embedding import (
    LEAST_VARIANCE,
    NeighbourEmbedding,
    log_neighbour_probabilities,
    neighbour_divergence,
    squared_distances,
)
from saddlepoint.losses.term import Step
from saddlepoint.randomness import Draws

pytestmark = pytest.mark.numerical

DISTANCES = ["squared", "plain"]


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def probabilities(points, distance="squared"):
    """The definition, pair by pair, in float64."""
    points = points.double().flatten(1)
    n = len(points)
    apart = [[float((points[i] - points[j]).norm()) for j in range(n)] for i in range(n)]
    pairs = [apart[i][j] for i in range(n) for j in range(n) if i != j]
    mean = sum(pairs) / len(pairs)
    variance = sum((d - mean) ** 2 for d in pairs) / len(pairs) + LEAST_VARIANCE
    kernel = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            if i != j:
                d = apart[i][j] ** 2 if distance == "squared" else apart[i][j]
                kernel[i, j] = 1 / (1 + d / (2 * variance))
    joint = torch.zeros_like(kernel)
    for i in range(n):
        for j in range(n):
            joint[i, j] = (kernel[i, j] / kernel[:, j].sum()) + (kernel[j, i] / kernel[:, i].sum())
    return joint / (2 * n)


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("shape", [(5,), (2, 3, 3)])
def test_probabilities_are_those_of_the_definition(distance, shape):
    points = 3 + normal(7, *shape)
    found = log_neighbour_probabilities(points, distance).exp()
    torch.testing.assert_close(
        found.double(), probabilities(points, distance), rtol=1e-4, atol=1e-7
    )
    assert torch.equal(found, found.T) and torch.equal(found.diagonal(), torch.zeros(7))
    assert found.min() >= 0 and found.sum().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_divergence_is_kullback_and_leiblers(distance):
    latents, images = normal(8, 3), normal(8, 20, seed=1)
    p, q = probabilities(latents, distance), probabilities(images, distance)
    expected = sum(
        p[i, j] * math.log(p[i, j] / q[i, j]) for i in range(8) for j in range(8) if i != j
    )
    found = neighbour_divergence(latents, images, distance)
    assert found.item() == pytest.approx(float(expected), rel=1e-3) and found > 0


def test_a_scaled_isometry_costs_nothing():
    latents = normal(16, 4)
    basis, _ = torch.linalg.qr(normal(12, 4, seed=1))  # orthonormal columns
    images = 2.5 * latents @ basis.T + normal(12, seed=2)
    # Both sides carry rounding of float32 in distances of order 10.
    assert neighbour_divergence(latents, images).abs().item() < 1e-5
    assert neighbour_divergence(latents, images, "plain").item() > 1e-4
    assert neighbour_divergence(latents, images / 2.5, "plain").abs().item() < 1e-5


def test_moving_and_turning_latents_changes_no_probability():
    latents = normal(10, 4)
    turn, _ = torch.linalg.qr(normal(4, 4, seed=1))
    for moved in (latents + 7.0, latents @ turn):
        torch.testing.assert_close(
            log_neighbour_probabilities(moved).exp(),
            log_neighbour_probabilities(latents).exp(),
            rtol=1e-3,
            atol=1e-6,
        )


def test_the_order_of_samples_does_not_matter():
    latents, images, order = normal(9, 3), normal(9, 5, seed=1), torch.randperm(9)
    torch.testing.assert_close(
        neighbour_divergence(latents[order], images[order]), neighbour_divergence(latents, images)
    )


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_collapsed_generator_is_a_stationary_point(distance):
    latents, n = normal(6, 3), 6
    images = torch.full((n, 3, 4, 4), 0.3, requires_grad=True)
    loss = neighbour_divergence(latents, images, distance)
    p = log_neighbour_probabilities(latents, distance)[~torch.eye(n, dtype=torch.bool)].exp()
    entropy = -(p * p.log()).sum().item()
    assert loss.item() == pytest.approx(math.log(n * (n - 1)) - entropy, rel=1e-4)
    loss.backward()
    assert torch.equal(images.grad, torch.zeros_like(images))


@pytest.mark.parametrize("distance", DISTANCES)
def test_two_points_are_always_neighbours(distance):
    images = normal(2, 5, seed=1).requires_grad_()
    loss = neighbour_divergence(normal(2, 3), images, distance)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert images.grad.abs().max() < 1e-6
    halves = log_neighbour_probabilities(images.detach(), distance).exp()
    torch.testing.assert_close(halves, torch.tensor([[0.0, 0.5], [0.5, 0.0]]))


def test_two_latents_far_apart_that_share_an_image_cost_more():
    latents = normal(8, 2)
    latents[0], latents[1] = torch.tensor([4.0, 4.0]), torch.tensor([-4.0, -4.0])
    basis, _ = torch.linalg.qr(normal(6, 2, seed=1))
    images = latents @ basis.T
    shared = images.clone()
    shared[1] = shared[0]
    assert neighbour_divergence(latents, shared) > neighbour_divergence(latents, images) + 0.01


@pytest.mark.parametrize("distance", DISTANCES)
def test_images_that_coincide_have_finite_gradients(distance):
    images = normal(6, 3, 4, 4)
    images[1] = images[0]
    images.requires_grad_()
    neighbour_divergence(normal(6, 3, seed=1), images, distance).backward()
    assert images.grad.isfinite().all() and images.grad.abs().sum() > 0


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradient_against_finite_differences_with_the_variance_held(distance):
    latents, images = normal(5, 3), normal(5, 4, seed=1).requires_grad_()
    (found,) = torch.autograd.grad(neighbour_divergence(latents, images, distance), images)
    held = {id(points): points.detach().flatten(1) for points in (latents, images)}
    variances = {}
    for key, points in held.items():
        apart = torch.pdist(points.double())
        variances[key] = apart.var(correction=0) + LEAST_VARIANCE

    def value(moved):
        logs = []
        for points, variance in ((latents, variances[id(latents)]), (moved, variances[id(images)])):
            d = squared_distances(points).double()
            d = d if distance == "squared" else d.sqrt()
            kernel = (1 / (1 + d / (2 * variance))).fill_diagonal_(0)
            conditional = kernel / kernel.sum(0)
            logs.append((conditional + conditional.T) / (2 * len(d)))
        p, q = (joint[~torch.eye(5, dtype=torch.bool)] for joint in logs)
        return float((p * (p / q).log()).sum())

    for i, j in ((0, 0), (3, 2)):
        step = torch.zeros_like(images)
        step[i, j] = 1e-2
        with torch.no_grad():
            slope = (value(images + step) - value(images - step)) / 2e-2
        assert found[i, j].item() == pytest.approx(slope, rel=2e-2, abs=1e-4)


# The term ---------------------------------------------------------------------------------------


def a_step(n=4):
    step = Step(0, 1, Draws(0), Items(latents=normal(n, 3)))
    step.fake = Items(image=normal(n, 3, 4, 4, seed=1))
    step.rebuilt = Items(image=normal(n, 3, 4, 4, seed=2), latents=normal(n, 3, seed=3))
    maps = {"fake": normal(n, 5, 2, 2, seed=4), "rebuilt": normal(n, 5, 2, 2, seed=5)}
    step.seen = {name: Features(m[:, :1, 0, 0], m, m.flatten(1)) for name, m in maps.items()}
    return step


@pytest.mark.parametrize("space", ["pixels", "features"])
def test_it_compares_fakes_with_latents_and_rebuilt_images_with_codes(space):
    step = a_step()
    of = {
        name: getattr(step, name).image if space == "pixels" else step.seen[name].local
        for name in ("fake", "rebuilt")
    }
    z, codes = step.inputs.latents, step.rebuilt.latents
    term = NeighbourEmbedding(space=space)
    expected = neighbour_divergence(torch.cat([z, codes]), torch.cat([of["fake"], of["rebuilt"]]))
    assert torch.equal(term.encoder_loss(step), expected)
    assert torch.equal(term.generator_loss(step), neighbour_divergence(z, of["fake"]))
    alone = NeighbourEmbedding(space=space, points="random_only")
    assert torch.equal(alone.encoder_loss(step), alone.generator_loss(step))
    in_features = space == "features"
    assert set(term.encoder_views(step)) == ({"fake", "rebuilt"} if in_features else set())
    assert set(alone.encoder_views(step)) == ({"fake"} if in_features else set())
    assert set(term.generator_views(step)) == ({"fake"} if in_features else set())


def test_it_stays_in_float32_under_autocast():
    latents, images = normal(8, 3), normal(8, 3, 8, 8, seed=1)
    plain = neighbour_divergence(latents, images)
    with torch.autocast("cpu", torch.bfloat16):
        cast = neighbour_divergence(latents, images)
    assert cast.dtype == torch.float32 and torch.equal(cast, plain)
