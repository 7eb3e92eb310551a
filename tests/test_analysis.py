import math

import pytest
import torch
from PIL import Image
from scoring import Pixels, PlainData, images
from train_cli import QUICK, composed, train_here

from saddlepoint.errors import UserError
from saddlepoint.evaluation.analysis.neighbours import NearestSearch, nearest_neighbours
from saddlepoint.evaluation.analysis.sample_size import distance_by_sample_size
from saddlepoint.evaluation.analysis.spectrum import (
    EPSILON,
    RadialSpectrum,
    frequencies_in_rings,
    radial_power,
)
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.extractors.extractor import Extracted, Extractor
from saddlepoint.runs import checkpoint_file, sample
from saddlepoint.runs.checkpoint_file import LAST

pytestmark = pytest.mark.numerical

# Nearest neighbours -------------------------------------------------------------------------------


def distances(a, b):
    """The slow and obvious form."""
    return (a.double().flatten(1)[:, None] - b.double().flatten(1)).square().sum(2).sqrt()


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_a_search_in_blocks_is_exact(block):
    reals, queries = images(200, seed=0), images(270, seed=1)
    search = NearestSearch(queries, 4)
    for part in reals.split(block):
        search.update(part)
    expected, order = distances(queries, reals).sort(dim=1, stable=True)
    assert torch.equal(search.distances, expected[:, :4])
    assert torch.equal(search.indices, order[:, :4])


def test_of_equally_near_ones_the_earlier_is_taken():
    reals = images(5, seed=0).repeat(4, 1, 1, 1)
    search = NearestSearch(reals[:5], 3)
    for part in reals.split(3):
        search.update(part)
    assert torch.equal(search.indices, torch.arange(5)[:, None] + torch.tensor([0, 5, 10]))
    assert not search.distances.any()


def test_close_vectors_far_from_zero_keep_their_distance():
    query = torch.full((1, 2048), 100.0)
    search = NearestSearch(query, 1)
    search.update(query + 1e-3)
    assert search.distances.item() == pytest.approx(distances(query, query + 1e-3).item(), rel=1e-6)


def test_a_copy_is_found_by_pixels_and_by_features_and_seen_as_a_number():
    reals, extractor = images(300, seed=0), Pixels()
    samples = torch.cat([reals[[123, 7]], images(3, seed=1)])
    found = nearest_neighbours(
        samples, PlainData(reals), 2, extractor=extractor, num_reference=300, batch_size=64
    )
    for space, vectors in zip(found, (reals, extractor(reals).features), strict=True):
        own = distances(vectors, vectors).fill_diagonal_(math.inf).amin(1)
        assert torch.allclose(space.among_reals, own.sort().values)
        assert space.indices[:2, 0].tolist() == [123, 7]
        assert space.ratios[:2, 0].tolist() == [0, 0]
        assert space.shares[:2].tolist() == [0, 0]
        assert torch.allclose(space.ratios * space.typical, space.distances)
        assert space.ratios[2:].min() > 0.5
    assert max(extractor.sizes[:-1]) <= 64


def test_duplicates_among_the_reals_do_not_set_the_scale():
    reals = images(40, seed=0).repeat(3, 1, 1, 1)
    reals[100:] = images(20, seed=2)
    found, none = nearest_neighbours(reals[:2], PlainData(reals), 1, num_reference=120)
    assert none is None
    assert (found.among_reals == 0).float().mean() > 0.5
    assert found.typical == found.among_reals[found.among_reals > 0].median() > 0


@pytest.mark.parametrize("batch_size", [9, 256])
def test_a_part_of_the_reals_is_chosen_by_the_seed_alone(batch_size):
    reals, samples = images(300, seed=0), images(4, seed=1)
    found, _ = nearest_neighbours(
        samples, PlainData(reals), 3, num_real=50, num_reference=20, batch_size=batch_size
    )
    reference, _ = nearest_neighbours(samples, PlainData(reals), 3, num_real=50, num_reference=20)
    other, _ = nearest_neighbours(samples, PlainData(reals), 3, num_real=50, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(found, reference, strict=True))
    assert not torch.equal(found.indices, other.indices)
    assert len(found.among_reals) == 20
    for row in range(4):
        exact = distances(samples[row : row + 1], reals[found.indices[row]])[0]
        assert torch.equal(found.distances[row], exact)


class Broken(Extractor):
    name = "broken"

    def forward(self, images):
        return Extracted(images.flatten(1).float() / 0)


@pytest.mark.parametrize(
    ("reals", "settings", "message"),
    [
        (images(5, seed=0), {"k": 5}, "5 nearest neighbours cannot be told among 5 images"),
        (images(5, seed=0), {"k": 0}, "at least 1"),
        (images(9, seed=0), {"num_real": 3, "k": 3}, "among 3 images"),
        (images(1, seed=0).repeat(9, 1, 1, 1), {"k": 1}, "All real images are alike"),
        (images(9, seed=0), {"k": 1, "extractor": Broken()}, "hold NaN or infinite"),
    ],
)
def test_what_has_no_neighbours_is_refused(reals, settings, message):
    with pytest.raises(UserError, match=message):
        nearest_neighbours(images(2, seed=1), PlainData(reals), **settings)


# Radial spectrum ----------------------------------------------------------------------------------

SIZES = [(8, 8), (9, 9), (8, 13), (32, 32)]


def noise(*shape):
    return torch.randn(shape) * 0.3


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_radial_power_equals_a_loop_over_frequencies(height, width):
    image = noise(height, width)
    spectrum = torch.fft.fft2(image.double()).abs().square() / (height * width)
    of_rings = {}
    for u in range(height):
        for v in range(width):
            radius = math.hypot(min(u, height - u), min(v, width - v))
            of_rings.setdefault(int(radius), []).append(spectrum[u, v])
    expected = torch.stack([sum(of_rings[r]) / len(of_rings[r]) for r in sorted(of_rings)])
    assert sorted(of_rings) == list(range(math.isqrt((height // 2) ** 2 + (width // 2) ** 2) + 1))
    assert frequencies_in_rings(height, width).tolist() == [
        len(of_rings[r]) for r in sorted(of_rings)
    ]
    found = radial_power(image[None, None])[0]
    assert torch.allclose(found, expected.float(), rtol=1e-4)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_power_over_all_frequencies_is_the_mean_square_of_pixels(height, width):
    batch = noise(3, 1, height, width)
    counts = frequencies_in_rings(height, width)
    assert counts.sum() == height * width
    total = (radial_power(batch) * counts).sum(1) / counts.sum()
    assert torch.allclose(total, batch.square().mean((1, 2, 3)), rtol=1e-5)


def test_white_noise_is_flat():
    spectrum = RadialSpectrum()
    spectrum.update(noise(2000, 1, 32, 32))
    assert spectrum.mean[:-1].tolist() == pytest.approx([0.09] * 22, rel=0.1)


@pytest.mark.parametrize(("u", "v", "ring"), [(3, 4, 5), (0, 7, 7), (6, 6, 8), (0, 16, 16)])
def test_a_cosine_is_in_one_ring(u, v, ring):
    y, x = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    power = radial_power(torch.cos(2 * math.pi * (u * y + v * x) / 32)[None, None])[0]
    others = torch.arange(len(power)) != ring
    assert power[ring] > 1
    assert power[others].max() < 1e-6 * power[ring]


def test_a_constant_image_has_nothing_but_its_mean():
    spectrum = RadialSpectrum()
    spectrum.update(torch.full((2, 3, 16, 16), -0.5))
    assert spectrum.mean[0].item() == pytest.approx(0.25 * 256, rel=1e-5)
    assert spectrum.mean[1:].max() < 1e-9
    assert torch.isfinite(spectrum.mean_log).all()
    assert spectrum.std_log.max() < 1e-3


@pytest.mark.parametrize("size", [16, 17])
def test_turned_mirrored_and_shifted_images_have_the_same_spectrum(size):
    batch = noise(4, 3, size, size)
    expected = radial_power(batch)
    for same in (batch.rot90(1, (2, 3)), batch.flip(3), batch.roll((3, 5), (2, 3))):
        assert torch.allclose(radial_power(same), expected, rtol=1e-3, atol=1e-7)


def test_grey_images_and_grey_rgb_images_are_the_same_and_green_counts_most():
    grey = noise(4, 1, 16, 16)
    assert torch.allclose(radial_power(grey), radial_power(grey.repeat(1, 3, 1, 1)), rtol=1e-4)
    colours = torch.zeros(3, 3, 16, 16)
    colours[range(3), range(3)] = grey[0]
    weights = (radial_power(colours) / radial_power(grey[:1])).sqrt()
    assert torch.allclose(weights[:, 1:], torch.tensor([[0.299], [0.587], [0.114]]), rtol=1e-3)


def test_batches_leave_the_spectrum_as_it_is_and_bytes_are_mapped_to_floats():
    whole, parts = RadialSpectrum(), RadialSpectrum()
    batch = images(50, seed=0, shape=(3, 16, 16))
    whole.update(batch / 127.5 - 1)
    for part in batch.split(7):
        parts.update(part)
    logs = (radial_power(batch / 127.5 - 1).double() + EPSILON).log()
    for spectrum in (whole, parts):
        assert spectrum.count == 50
        assert torch.allclose(spectrum.mean_log, logs.mean(0), atol=1e-5)
        assert torch.allclose(spectrum.std_log, logs.std(0), atol=1e-5)
    assert torch.allclose(whole.mean, parts.mean, rtol=1e-5)


def test_what_has_no_spectrum_is_refused():
    spectrum = RadialSpectrum()
    spectrum.update(noise(2, 1, 8, 8))
    with pytest.raises(UserError, match="no common spectrum"):
        spectrum.update(noise(2, 1, 8, 9))
    with pytest.raises(UserError, match="grey or RGB"):
        RadialSpectrum().update(noise(2, 4, 8, 8))
    with pytest.raises(UserError, match="grey or RGB"):
        RadialSpectrum().update(noise(5, 2))


# Sample size --------------------------------------------------------------------------------------

DIMENSIONS = 16
STANDARD = FeatureStatistics.from_moments(
    10**6, torch.zeros(DIMENSIONS), torch.eye(DIMENSIONS, dtype=torch.float64)
)


def test_the_bias_of_equal_gaussians_shrinks_with_the_number_and_is_extrapolated_away():
    found = distance_by_sample_size(torch.randn(2000, DIMENSIONS), STANDARD)
    assert found.counts == sorted(found.counts)
    assert (found.counts[0], found.counts[-1], len(found.counts)) == (200, 2000, 15)
    products = torch.tensor(found.distances) * torch.tensor(found.counts)
    # A covariance I + E has the distance |mean|^2 + tr E^2 / 4 to I, for small E.
    assert products.tolist() == pytest.approx([DIMENSIONS + DIMENSIONS * 17 / 4] * 15, rel=0.2)
    assert abs(found.intercept) < 0.1 * found.distances[-1]
    assert found.intercept_error < 0.1 * found.distances[-1]


def test_a_known_distance_is_met_much_nearer_than_at_any_number_of_samples():
    true = 0.2**2 * DIMENSIONS + 0.5**2 * DIMENSIONS  # of means, and of standard deviations
    errors, biases = [], []
    for _ in range(60):
        features = torch.randn(400, DIMENSIONS) * 1.5 + 0.2
        found = distance_by_sample_size(features, STANDARD, points=6)
        errors.append(found.intercept - true)
        biases.append(found.distances[-1] - true)
    errors, biases = torch.tensor(errors), torch.tensor(biases)
    assert biases.mean() > 0.25
    assert errors.mean().abs() < 0.3 * biases.mean()


def test_the_last_point_is_the_distance_of_all_samples_and_the_seed_moves_only_the_others():
    features = torch.randn(300, DIMENSIONS) + 1
    all_of_them = FeatureStatistics()
    all_of_them.update(features)
    one, again, other = (
        distance_by_sample_size(features, STANDARD, points=4, fewest=50, seed=seed)
        for seed in (0, 0, 1)
    )
    assert one == again
    assert one.counts == [50, 133, 216, 300]
    assert one.distances[:-1] != other.distances[:-1]
    for found in (one, other):
        whole = frechet_distance(STANDARD, all_of_them)
        assert found.distances[-1] == pytest.approx(whole, rel=1e-9)
        place = torch.tensor([1 / count for count in found.counts], dtype=torch.float64)
        design = torch.stack([torch.ones(4, dtype=torch.float64), place], 1)
        values = torch.tensor(found.distances, dtype=torch.float64)
        line = torch.linalg.lstsq(design, values).solution.tolist()
        assert [found.intercept, found.slope] == pytest.approx(line, rel=1e-6)


@pytest.mark.parametrize(
    ("count", "settings"),
    [(10, {}), (100, {"points": 2}), (100, {"fewest": 1}), (100, {"fewest": 100})],
)
def test_too_few_samples_for_an_extrapolation_are_refused(count, settings):
    with pytest.raises(UserError, match="different numbers of samples"):
        distance_by_sample_size(torch.randn(count, DIMENSIONS), STANDARD, **settings)


# Pictures -----------------------------------------------------------------------------------------


def show(run, *words):
    return sample.sample(composed([f"run={run}", *words], "sample"))


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    train_here([*QUICK, f"output_dir={folder}", "run_name=faces"])
    return folder / "faces"


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    settings = ["datamodule=gaussians25", "network=mlp", *QUICK]
    train_here([*settings, f"output_dir={folder}", "run_name=points"])
    return folder / "points"


def altered(run, folder, change):
    """A run whose checkpoint differs by ``change``."""
    content = checkpoint_file.load(run)
    change(content)
    (folder / LAST).parent.mkdir(parents=True)
    checkpoint_file.save(folder / LAST, content)
    return folder


def test_neighbours_have_a_picture_and_a_sentence_for_each_space(faces, capsys):
    words = ("what=neighbours", "num_real=300", "num_fake=20", "rows=3", "neighbours=4")
    both = Image.open(show(faces, *words))
    told = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in told] == ["pixels", "features of avatar-classifier"]
    alone = Image.open(show(faces, *words, "extractor=none"))
    assert alone.width < both.width
    assert len(capsys.readouterr().out.splitlines()) == 1
    assert alone.height > 3 * 64


def test_the_samples_that_come_closest_are_shown_where_asked_for(faces, capsys):
    words = ("what=neighbours", "num_real=300", "num_fake=20", "rows=1", "extractor=none")
    first, closest = (show(faces, *words, f"closest={x}").read_bytes() for x in ("false", "true"))
    capsys.readouterr()
    assert first != closest


def test_a_spectrum_and_sample_sizes_have_pictures(faces, capsys):
    assert Image.open(show(faces, "what=spectrum", "num_fake=50")).width > 600
    assert not capsys.readouterr().out
    few = ("num_real=200", "num_fake=200", "points=5")
    assert Image.open(show(faces, "what=sample_size", *few)).width > 600
    assert "FD/avatar-classifier is" in capsys.readouterr().out


def test_points_have_sample_sizes_but_neither_neighbours_nor_a_spectrum(points, capsys):
    few = ("num_real=500", "num_fake=300", "points=5")
    assert show(points, "what=sample_size", *few).exists()
    assert "FD/raw is" in capsys.readouterr().out
    for what in ("neighbours", "spectrum"):
        with pytest.raises(UserError, match=f"what={what} needs a run on images"):
            show(points, f"what={what}")


def test_a_run_on_other_data_is_not_compared_with_these(faces, tmp_path):
    def change(content):
        content["data"]["digest"] = "another"

    other = altered(faces, tmp_path / "other", change)
    for what in ("neighbours", "spectrum", "sample_size"):
        with pytest.raises(UserError, match="not those this run was trained on"):
            show(other, f"what={what}")


def test_a_diverged_generator_is_named(faces, tmp_path):
    def change(content):
        for tensor in content["game"]["modules"].values():
            if tensor.is_floating_point():
                tensor.fill_(math.nan)

    diverged = altered(faces, tmp_path / "diverged", change)
    for what in ("neighbours", "spectrum", "sample_size"):
        with pytest.raises(UserError, match="diverged"):
            show(diverged, f"what={what}", "num_real=100", "num_fake=20")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["what=neighbours", "rows=0"], "rows=0 is not to be had"),
        (["what=spectrum", "num_fake=1"], "at least 2"),
        (["what=sample_size", "extractor=none"], "needs an extractor"),
        (["what=neighbours", "extractor=avatar"], "did you mean"),
        (["what=neighbors"], "neighbours or spectrum or sample_size"),
    ],
)
def test_settings_that_make_no_picture_are_refused(faces, words, message):
    with pytest.raises(UserError, match=message):
        show(faces, *words)
