"""Representations: losses against slow forms and closed forms, keyed views, exact resume."""

import math
from itertools import permutations

import pytest
import torch
from few_faces import COUNT, FewFaces
from torchvision.transforms.v2.functional import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    resized_crop,
)
from train_cli import equal

from saddlepoint.errors import UserError
from saddlepoint.randomness import keyed_generator
from saddlepoint.representations.augmentation import Augmentation, _numbers, cropped, hue_shifted
from saddlepoint.representations.clustering import agreement, k_means, matching, nearest
from saddlepoint.representations.deep_cluster import DeepCluster
from saddlepoint.representations.method import described
from saddlepoint.representations.pica import PICA, imbalance, partition_confidence
from saddlepoint.representations.probes import knn_accuracy, linear_accuracy
from saddlepoint.representations.processing import Processing
from saddlepoint.representations.simclr import SimCLR, nt_xent
from saddlepoint.representations.sobel import Sobel
from saddlepoint.representations.training import features_of, train

METHODS = {
    "simclr": lambda: SimCLR(width=2, projection=4),
    "pica": lambda: PICA(width=2, clusters=(6, 3)),
    "deep_cluster": lambda: DeepCluster(width=2, clusters=5, dim=4),
}


def normal(*shape, key=0):
    return torch.randn(*shape, generator=keyed_generator("test", key))


# Losses -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_is_that_of_a_double_loop(temperature):
    first, second = normal(5, 3).double(), normal(5, 3, key=1).double()
    both = torch.cat([first, second])

    def score(i, k):
        return float(torch.cosine_similarity(both[i], both[k], dim=0)) / temperature

    total = 0.0
    for i in range(10):
        others = sum(math.exp(score(i, k)) for k in range(10) if k != i)
        total -= math.log(math.exp(score(i, (i + 5) % 10)) / others)
    assert nt_xent(first, second, temperature).item() == pytest.approx(total / 10, rel=1e-5)


def test_nt_xent_of_perfect_and_of_constant_views():
    n, temperature = 8, 0.5
    perfect = torch.eye(n)  # partners agree, all others are orthogonal
    expected = -1 / temperature + math.log(math.exp(1 / temperature) + 2 * n - 2)
    assert nt_xent(perfect, perfect, temperature).item() == pytest.approx(expected, rel=1e-5)
    constant = torch.ones(n, 3)
    assert nt_xent(constant, constant, temperature).item() == pytest.approx(
        math.log(2 * n - 1), rel=1e-5
    )


def test_confidence_of_a_partition_is_the_written_out_cross_entropy():
    p, q = normal(12, 4).softmax(1), normal(12, 4, key=1).softmax(1)
    cosines = [
        [float(torch.cosine_similarity(p[:, j], q[:, k], dim=0)) for k in range(4)]
        for j in range(4)
    ]
    rows = [math.log(sum(map(math.exp, row))) - row[j] for j, row in enumerate(cosines)]
    assert partition_confidence(p, q).item() == pytest.approx(sum(rows) / 4, rel=1e-5)


@pytest.mark.parametrize("k", [2, 5, 10])
def test_closed_forms_of_pica(k):
    balanced = torch.eye(k).repeat(6, 1)
    least = math.log(math.e + k - 1) - 1
    assert partition_confidence(balanced, balanced).item() == pytest.approx(least, rel=1e-5)
    assert imbalance(balanced).item() == pytest.approx(0, abs=1e-6)
    collapsed = torch.eye(k)[torch.zeros(6 * k, dtype=torch.long)].requires_grad_()
    assert imbalance(collapsed).item() == pytest.approx(math.log(k), rel=1e-6)
    # Empty columns and p log p at 0: finite, and better than nothing to learn from.
    loss = partition_confidence(collapsed, collapsed)
    loss.backward()
    assert loss.isfinite() and collapsed.grad.isfinite().all()
    assert loss.item() > least


@pytest.mark.parametrize(("k", "n"), [(10, 128), (40, 512)])
def test_a_batch_that_is_drawn_from_equal_clusters_looks_imbalanced(k, n):
    generator = keyed_generator("drawn clusters")
    drawn = torch.eye(k)[torch.randint(k, (500, n), generator=generator)]
    costs = torch.stack([imbalance(p) for p in drawn])
    assert costs.mean().item() == pytest.approx((k - 1) / (2 * n), rel=0.1)
    soft = (drawn + 1 / k) / 2  # the same clusters, half as certain
    assert torch.stack([imbalance(p) for p in soft]).mean() < costs.mean() / 2


def test_edges_of_a_ramp_and_of_a_plain():
    ramp = torch.arange(6.0).expand(1, 3, 6, 6)
    across, down = Sobel()(ramp)[0]
    assert torch.equal(across[1:-1, 1:-1], torch.full((4, 4), -8.0))
    assert not down.any()
    assert not Sobel()(torch.ones(1, 1, 5, 5)).any()


# Views ------------------------------------------------------------------------------------------


def test_a_view_is_a_function_of_seed_epoch_view_and_item_alone():
    images = FewFaces().source.image.values
    augmentation, rows = Augmentation(), torch.arange(12)
    before = torch.random.get_rng_state()
    views = augmentation.views(images[rows], rows, 0, 3, 0)
    assert torch.equal(torch.random.get_rng_state(), before)
    order = torch.tensor([7, 2, 11])
    assert torch.equal(augmentation.views(images[order], order, 0, 3, 0), views[order])
    assert views.shape == (12, 3, 32, 32) and views.abs().max() <= 1
    for key in ((1, 3, 0), (0, 4, 0), (0, 3, 1)):
        other = augmentation.views(images[rows], rows, *key)
        assert all(not torch.equal(a, b) for a, b in zip(other, views, strict=True))


def test_crops_and_hues_are_torchvisions():
    images = FewFaces().source.image.values[:20].float() / 255
    draws = torch.rand(5, 20, generator=keyed_generator("boxes"))
    top, left = (draws[:2] * 20).floor().long()
    height, width = (draws[2:4] * 11).floor().long() + 1
    boxes = torch.stack([left, top, left + width, top + height], 1).float()
    box = torch.stack([top, left, height, width], 1).tolist()
    pairs = list(zip(images, box, strict=True))
    crops = [resized_crop(image, *of, [32, 32], antialias=True) for image, of in pairs]
    torch.testing.assert_close(cropped(images, boxes), torch.stack(crops), rtol=0, atol=1e-5)
    turns = draws[4] - 0.5
    hues = [adjust_hue(image, turn) for image, turn in zip(images, turns.tolist(), strict=True)]
    torch.testing.assert_close(hue_shifted(images, turns), torch.stack(hues), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_each_change_of_colours_is_torchvisions_within_its_range(name):
    (image,) = FewFaces().source.image.values[:1]
    none = {"crop": 1.0, "flip": 0.0, "jitter": 1.0, "grey": 0.0, "hue": 0.0}
    none |= dict.fromkeys(("brightness", "contrast", "saturation"), 0.0)
    augmentation = Augmentation(**{**none, name: 0.4})
    augmentation._boxes = lambda *_: torch.tensor([[0.0, 0, 32, 32]]).expand(20, 4)
    views = augmentation.views(image.expand(20, -1, -1, -1), torch.arange(20), 0)
    adjust = {
        "brightness": (6, adjust_brightness),
        "contrast": (7, adjust_contrast),
        "saturation": (8, adjust_saturation),
    }
    column, torchvisions = adjust[name]
    factors = 0.6 + 0.8 * _numbers(torch.arange(20), 0)[:, column]
    expected = torch.stack([torchvisions(image / 255, factor) for factor in factors.tolist()])
    torch.testing.assert_close((views + 1) / 2, expected, rtol=0, atol=1e-5)


def test_shares_of_views_that_are_mirrored_and_grey():
    images = FewFaces().source.image.values[:1].expand(2000, -1, -1, -1)
    still = Augmentation(crop=1.0, flip=0.3, jitter=0.0, grey=0.2)
    still._boxes = lambda *_: torch.tensor([[0.0, 0, 32, 32]]).expand(2000, 4)
    views = still.views(images, torch.arange(2000), 0)
    face = images[:1].float() / 127.5 - 1
    grey = (views[:, 0] == views[:, 1]).flatten(1).all(1)
    mirrored = (views - face.flip(-1)).flatten(1).abs().amax(1) < 1e-5
    kept = (views - face).flatten(1).abs().amax(1) < 1e-5
    assert ((mirrored | kept) == ~grey).all()
    for hits, of, share in ((grey.sum(), 2000, 0.2), (mirrored.sum(), (~grey).sum(), 0.3)):
        assert abs(hits - of * share) < 5 * (of * share * (1 - share)) ** 0.5
    areas = Augmentation(crop=0.2)._boxes(*torch.rand(4, 5000), 32, 32)
    width, height = areas[:, 2] - areas[:, 0], areas[:, 3] - areas[:, 1]
    assert areas[:, :2].min() >= 0 and areas[:, 2:].max() <= 32
    # Sides are whole pixels and at most 32, so that shares of the area are so only nearly.
    assert (width * height / 1024).min() > 0.15
    assert 0.55 < (width * height / 1024).mean() < 0.6


# Training ---------------------------------------------------------------------------------------


def trained(make, epochs=3, **options):
    method, source = make(), FewFaces().source
    train(
        method,
        source,
        torch.arange(COUNT),
        epochs=epochs,
        batch_size=32,
        seed=4,
        device=torch.device("cpu"),
        **options,
    )
    return method


class CutOffError(Exception):
    pass


@pytest.mark.parametrize("name", METHODS)
def test_training_that_is_cut_off_goes_on_bit_for_bit(name, tmp_path):
    whole = trained(METHODS[name])
    kept = tmp_path / "kept.pt"

    def keep(state):
        torch.save(state, kept)
        if state["epochs"] == 2:
            raise CutOffError

    with pytest.raises(CutOffError):
        trained(METHODS[name], keep=keep)
    torch.manual_seed(99)  # what the global generator holds is nothing to it
    resumed = trained(METHODS[name], left=torch.load(kept, weights_only=True))
    assert equal(resumed.state_dict(), whole.state_dict())
    assert not whole.training
    other = METHODS[name]()
    torch.manual_seed(0)
    other.build((3, 32, 32))
    assert not equal(other.encoder.state_dict(), whole.encoder.state_dict())


def test_what_is_trained_gets_better():
    told = []
    method = SimCLR(width=4, projection=16)
    source = FewFaces().source
    options = {"batch_size": 48, "seed": 0, "device": torch.device("cpu")}
    train(method, source, torch.arange(COUNT), epochs=1, keep=told.append, **options)
    rows = torch.arange(COUNT)
    images = source.image.values

    def loss():
        views = [method.augmentation.views(images, rows, 0, 99, v) for v in (0, 1)]
        with torch.no_grad():
            return method.loss(views, rows)["nt_xent"].item()

    before = loss()
    train(method, source, rows, epochs=20, **options)
    assert loss() < before - 0.1
    assert told[0]["epochs"] == 1


def test_features_are_those_of_each_image_as_it_is():
    method, source = trained(METHODS["simclr"], epochs=1), FewFaces().source
    order = torch.randperm(COUNT, generator=keyed_generator("order"))
    features = features_of(method, source, torch.arange(COUNT), torch.device("cpu"))
    shuffled = features_of(method, source, order, torch.device("cpu"))
    # Sums in another order, of a batch in another order, differ by rounding.
    torch.testing.assert_close(shuffled, features[order], rtol=1e-4, atol=1e-5)


def test_deep_cluster_draws_all_clusters_alike_and_begins_its_head_anew():
    method = METHODS["deep_cluster"]()
    torch.manual_seed(0)
    method.build((3, 32, 32))
    vectors = torch.cat([normal(200, 16), normal(20, 16, key=1) + 20])
    anew = method.begin_epoch(0, 0, lambda: vectors)
    assert {id(p) for p in anew} == {id(p) for p in method.head.parameters()}
    first = method.head.weight.clone()
    sizes = method.assignment.bincount(minlength=5)
    assert sizes.sum() == 220 and sizes.min() > 0
    n = 20_000
    drawn = method.assignment[method.order(0, 0, n)].bincount(minlength=5)
    chi_square = ((drawn - n / 5).square() / (n / 5)).sum()
    assert chi_square < 27.9  # exceeded once in 10^5 times with 4 degrees of freedom
    method.begin_epoch(1, 0, lambda: vectors)
    assert not torch.equal(first, method.head.weight)


def test_definitions_tell_settings_apart():
    makes = [*METHODS.values(), lambda: SimCLR(width=2, projection=4, temperature=0.4)]
    makes += [lambda: SimCLR(width=2, projection=4, augmentation=Augmentation(crop=0.3))]
    definitions = [make().definition() for make in makes]
    assert all(a != b for i, a in enumerate(definitions) for b in definitions[:i])
    assert METHODS["pica"]().definition() == METHODS["pica"]().definition()
    assert described(SimCLR())["optimizer"] == {
        "of": "torch.optim.adam.Adam",
        "lr": 1e-3,
        "weight_decay": 1e-6,
    }


def test_an_encoder_of_ones_own():
    def network():
        return torch.nn.Sequential(
            torch.nn.AvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(48, 7)
        )

    method = trained(lambda: SimCLR(network=network, projection=4), epochs=1)
    assert method.features == 7
    with pytest.raises(UserError, match="schedule=often is not to be had"):
        SimCLR(schedule="often")


# Clusters ---------------------------------------------------------------------------------------


def blobs(k=4, each=30, spread=0.1):
    centres = 5 * normal(k, 6, key="centres")
    points = centres.repeat_interleave(each, 0) + spread * normal(k * each, 6, key="points")
    return points, torch.arange(k).repeat_interleave(each)


def test_k_means_finds_blobs_whatever_their_order():
    points, truth = blobs()
    found = k_means(points, 4, seed=0)
    assert agreement(truth, found.ids) == pytest.approx({"NMI": 1.0, "ACC": 1.0, "ARI": 1.0})
    assert equal(k_means(points, 4, seed=0), found)
    order = torch.randperm(len(points), generator=keyed_generator("order"))
    shuffled = k_means(points[order], 4, seed=0)
    assert agreement(found.ids[order], shuffled.ids)["ARI"] == pytest.approx(1.0)
    for k in range(4):
        torch.testing.assert_close(found.centres[k], points[found.ids == k].mean(0))


def test_an_empty_cluster_is_put_where_the_farthest_point_lies():
    points, _ = blobs(k=3)
    points[0] += 100
    centres = torch.cat([points[30:31], points[60:61], torch.full((1, 6), 1e4)])
    found = k_means(points, 3, seed=0, centres=centres)
    sizes = found.ids.bincount(minlength=3)
    assert sizes.min() == 1 and (found.ids == found.ids[0]).sum() == 1


def test_more_clusters_than_images_are_refused():
    with pytest.raises(UserError, match=r"3 images do not make 4 clusters: ask"):
        k_means(torch.eye(3), 4, seed=0)


@pytest.mark.parametrize("k", [1, 2, 7])
def test_ids_of_a_permuted_copy_get_their_names_back(k):
    before = torch.randint(k, (200,), generator=keyed_generator("ids"))
    names = torch.randperm(k, generator=keyed_generator("names"))
    now = names[before]
    assert torch.equal(matching(before, now, k)[now], before)
    assert torch.equal(matching(before, before, k), torch.arange(k))


def test_matched_ids_keep_as_many_items_as_any_naming_could():
    before = torch.randint(4, (60,), generator=keyed_generator("before"))
    now = torch.randint(4, (60,), generator=keyed_generator("now"))
    best = max((torch.tensor(p)[now] == before).sum() for p in permutations(range(4)))
    names = matching(before, now, 4)
    assert sorted(names.tolist()) == [0, 1, 2, 3]
    assert (names[now] == before).sum() == best


def test_vectors_nearest_to_each_are_those_of_a_slow_search():
    vectors = normal(40, 5)
    distances = torch.cdist(vectors.double(), vectors.double())
    assert torch.equal(nearest(vectors, 6), distances.argsort(dim=1)[:, :6])
    assert nearest(vectors, 100).shape == (40, 40)


@pytest.mark.parametrize("whiten", [True, False])
def test_processed_vectors(whiten):
    features = normal(300, 8) @ normal(8, 8, key="mix") + 3
    features = torch.cat([features, features[:, :1], torch.zeros(300, 1)], dim=1)  # rank 8 of 10
    affine = Processing.fitted(features, 128, whiten, unit=False)(features)
    assert affine.shape == (300, 8)
    assert affine.mean(0).abs().max() < 1e-4
    covariance = affine.T.cov().double()
    if whiten:
        torch.testing.assert_close(covariance, torch.eye(8).double(), rtol=1e-3, atol=1e-3)
    else:  # a rotation: distances stay
        torch.testing.assert_close(
            torch.cdist(affine, affine), torch.cdist(features, features), rtol=1e-3, atol=1e-2
        )
    unit = Processing.fitted(features, 5, whiten)(features)
    assert unit.shape == (300, 5)
    assert (unit.norm(dim=1) - 1).abs().max() < 1e-5


def test_constant_features_have_a_vector_too():
    features = torch.ones(20, 4)
    vectors = Processing.fitted(features, 3, whiten=True)(features)
    assert vectors.shape == (20, 1) and vectors.isfinite().all()


def test_probes_tell_blobs_and_do_not_tell_noise():
    points, truth = blobs(each=60)
    noise = torch.randint(4, truth.shape, generator=keyed_generator("noise"))
    for accuracy in (knn_accuracy, linear_accuracy):
        assert accuracy(points, truth) == 1.0
        assert accuracy(points, noise) < 0.6
        both = torch.stack([truth, truth], dim=1)
        assert accuracy(points, both) == 1.0
