"""Points whose density is known: the density, what measures against it, and what pictures show."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from collecting import CPU, named_metric, of_features
from hydra.utils import instantiate
from PIL import Image
from play import spec_of
from scipy.stats import kstest
from train_cli import QUICK, composed, train_here

from saddlepoint.datamodules.toys import Gaussians1D, Gaussians8, Gaussians25, SwissRoll
from saddlepoint.errors import UserError
from saddlepoint.evaluation.fakes import GivenFakes
from saddlepoint.evaluation.metrics.true_cdf import TrueCDF
from saddlepoint.gans.networks.mlp import FourierFeatures
from saddlepoint.randomness import keyed_generator
from saddlepoint.records.reading import read_records
from saddlepoint.runs import sample
from saddlepoint.runs.animation import FRAMES, frames_of, pictures_of_training, save_animation
from saddlepoint.runs.build import build_game
from saddlepoint.runs.captions import caption_of
from saddlepoint.runs.point_pictures import PointPictures
from saddlepoint.runs.settings import check_settings

pytestmark = pytest.mark.numerical

#: Of a statistic of Kolmogorov and Smirnov times sqrt(n): beyond it once in 10^7 samples.
RARE = 2.9


# Densities ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", [Gaussians1D, Gaussians8, Gaussians25, SwissRoll])
def test_a_density_is_one_and_its_sample_follows_it(toy):
    """Its integral is 1, and each coordinate of the sample has its marginal distribution."""
    # Wider noise than usual, so that a coarse grid integrates it.
    data = toy(num_items=5000, std=0.4)
    line = torch.linspace(-1.6, 1.6, 161)
    step = (line[1] - line[0]).item()
    dimensions = data.spec.shape[0]
    grid = torch.cartesian_prod(*[line] * dimensions).view(-1, dimensions)
    density = data.density(grid).view(*[len(line)] * dimensions).double()
    # The trapezoidal rule on what vanishes at both ends errs by far less than single precision.
    assert density.sum().item() * step**dimensions == pytest.approx(1, abs=1e-4)
    for axis in range(dimensions):
        others = [other for other in range(dimensions) if other != axis]
        marginal = (density.sum(others) if others else density) * step**dimensions
        cdf = np.cumsum(marginal.numpy()) - marginal.numpy() / 2
        points = data.source.image.values[:, axis].numpy()
        found = kstest(points, lambda x, cdf=cdf: np.interp(x, line.numpy(), cdf)).statistic
        assert found * math.sqrt(len(points)) < RARE


def test_the_distribution_function_is_the_integral_of_the_density():
    data = Gaussians1D()
    line = torch.linspace(-1.6, 1.6, 3201)
    steps = data.density(line[:, None]).double() * 0.001
    assert torch.allclose(data.cdf(line), steps.cumsum(0) - steps / 2, atol=1e-5)


def test_the_curve_of_the_roll_has_equal_shares_of_the_data_between_its_points():
    data = SwissRoll(num_items=5000, std=0.0)
    assert (torch.cdist(data.source.image.values, data.curve).amin(1) < 0.005).all()
    places = torch.cdist(data.source.image.values, data.curve).argmin(1) / len(data.curve)
    assert kstest(places.numpy(), "uniform").statistic * math.sqrt(5000) < RARE


# Metrics -----------------------------------------------------------------------------------------


def scores(metric, data, fakes, reals=None):
    metric.check(data, 10, len(fakes))
    sides = []
    for of, features in ((metric.of_reals, reals), (metric.of_fakes, fakes)):
        collectors = of(len(fakes), CPU)
        if features is not None:
            for collector in collectors.values():
                collector.update(of_features(features))
        sides.append(collectors)
    return metric.compute(*sides)


def test_distances_of_one_point_from_the_true_distribution():
    """All mass at c: W1 is E |X - c|, KS is the larger part of the mass on one side."""
    normal = SimpleNamespace(
        spec=SimpleNamespace(name="normal"), cdf=lambda x: torch.special.ndtr(x / 0.1)
    )
    for c in (0.0, 0.05, 3.0):
        found = scores(TrueCDF(), normal, torch.full((7, 1), c))
        z = c / 0.1
        density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        expected = 0.1 * (2 * density + z * math.erf(z / math.sqrt(2)))
        assert found["W1"] == pytest.approx(expected, rel=1e-5)
        assert found["KS"] == pytest.approx(0.5 * (1 + math.erf(z / math.sqrt(2))), rel=1e-6)


def test_distances_of_samples_from_the_true_distribution():
    data = Gaussians1D(num_items=1000)
    points = data.source.image.values
    found = scores(named_metric("true_cdf"), data, points)
    flat = points.flatten().numpy()
    reference = kstest(flat, lambda x: data.cdf(torch.from_numpy(x)).numpy()).statistic
    assert found["KS"] == pytest.approx(reference, rel=1e-6)
    # Quantiles at the middle of many equal shares, the slow and obvious form of W1.
    shares = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    line = torch.linspace(-1.6, 1.6, 400_001, dtype=torch.float64)
    true = line[torch.searchsorted(data.cdf(line), shares)]
    mine = points.flatten().double().sort().values.repeat_interleave(200)
    assert found["W1"] == pytest.approx((true - mine).abs().mean().item(), rel=1e-3)
    moved = scores(named_metric("true_cdf"), data, points + 0.5)
    assert moved["W1"] == pytest.approx(0.5, abs=found["W1"] + 1e-6)
    with pytest.raises(UserError, match="swiss_roll has no known distribution function"):
        TrueCDF().check(SwissRoll(), 10, 10)


def test_the_sliced_distance_of_a_shift_is_its_mean_projection():
    metric = named_metric("sliced_wasserstein", slices=500)
    points = torch.randn(300, 2, generator=keyed_generator("points"))
    assert scores(metric, Gaussians25(), points, points)["sliced_W1"] == pytest.approx(0, abs=1e-6)
    # A shift by v moves each projection by |v . a|, 2 / pi of |v| in the mean over directions.
    found = scores(metric, Gaussians25(), points + torch.tensor([0.6, -0.8]), points)["sliced_W1"]
    deviation = math.sqrt((0.5 - 4 / math.pi**2) / 500)
    assert abs(found - 2 / math.pi) < 6 * deviation
    assert metric.definition() == {"slices": 500}


def test_points_on_the_curve_and_beside_it():
    data, metric = SwissRoll(), named_metric("curve")
    even = data.curve[::5]
    assert scores(metric, data, even) == {
        "on_curve": 1.0,
        "KS_along": pytest.approx(1 / 400, abs=1 / 400),
    }
    half = data.curve[:500]
    assert scores(metric, data, half)["KS_along"] == pytest.approx(0.5, abs=0.002)
    outwards = data.curve[500] / data.curve[500].norm()
    for stds, share in ((2.9, 1.0), (3.1, 0.0)):
        beside = data.curve[500] + stds * data.noise_std * outwards
        # The nearest point of the curve is some way along it: it winds outwards as it turns.
        assert scores(metric, data, beside.expand(4, 2))["on_curve"] == share
    with pytest.raises(UserError, match="gaussians8 lies around no known curve"):
        metric.check(Gaussians8(), 10, 10)


@pytest.mark.parametrize(
    ("experiment", "names"),
    [
        ("toy_1d", {"W1", "KS", "modes", "KL", "high_quality", "registered"}),
        ("toy_gaussians8", {"modes", "KL", "high_quality", "registered", "sliced_W1"}),
        ("toy_25gaussians", {"modes", "KL", "high_quality", "registered", "sliced_W1"}),
        ("toy_swiss_roll", {"sliced_W1", "on_curve", "KS_along"}),
    ],
)
def test_scores_and_their_directions_stand_in_records(experiment, names):
    config = composed([f"experiment={experiment}", "gan=gan", "datamodule.num_items=10000"])
    data = instantiate(config.datamodule, _convert_="all")
    evaluator = instantiate(config.monitor, _convert_="all").prepare(data)
    assert evaluator.name == config.monitor.name
    found = evaluator.score(GivenFakes(data))
    assert set(found.means) == set(found.directions) == names
    if "modes" in names:  # the data themselves reach all
        assert found.means["modes"] == len(data.mode_centres)


# Pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("toy", [Gaussians1D, Gaussians25, SwissRoll])
def test_points_are_drawn_over_their_density(toy):
    data = toy(num_items=500)
    pictures = PointPictures(data)
    few = pictures.draw(data.source.image.values[:60])
    many = pictures.draw(data.source.image.values, caption_of("toy", 1000, {"modes": 3.0}))

    def red(picture):
        pixels = np.asarray(picture).astype(int)
        return (pixels[..., 0] > pixels[..., 2] + 30).sum()

    assert red(many) > 0 < red(few) and many.tobytes() != few.tobytes()
    assert np.asarray(many).std() > 10


def test_a_caption_says_run_iteration_and_scores():
    values = {"modes": 25.0, "KL": 0.01234, "a": 1.0, "b": 2.0, "c": 3.0}
    caption = caption_of("gaussians25-gan", 12_000, values)
    assert caption.splitlines() == [
        "gaussians25-gan, iteration 12,000",
        "modes 25 · KL 0.01234 · a 1 · b 2",
        "c 3",
    ]


def test_an_animation_has_the_pictures_in_their_order(tmp_path):
    for iteration in (0, 50, 100):
        Image.new("RGB", (40, 30), (iteration, 0, 200)).save(tmp_path / f"{iteration:06d}.png")
    Image.new("RGB", (40, 30)).save(tmp_path / "final.png")
    paths = pictures_of_training(tmp_path)
    assert [path.stem for path in paths] == ["000000", "000050", "000100"]
    gif = Image.open(save_animation(frames_of(paths), tmp_path / "training.gif"))
    assert (gif.n_frames, gif.size) == (3, (40, 30))
    for k in range(FRAMES + 5):
        (tmp_path / f"{1000 + k:06d}.png").touch()
    paths = pictures_of_training(tmp_path)
    assert len(paths) == FRAMES
    assert (paths[0].stem, paths[-1].stem) == ("000000", f"{1000 + FRAMES + 4:06d}")


# Networks ----------------------------------------------------------------------------------------


def test_fourier_features_depend_on_differences_alone():
    features = FourierFeatures(2, 400, 3.0)
    x, y, shift = torch.randn(3, 2, generator=keyed_generator("points"))
    seen = features(torch.stack([x, y, x + shift, y + shift]))
    assert seen.shape == (4, 800) and features.size == 800
    assert torch.allclose(seen.square().sum(1), torch.full((4,), 400.0), rtol=1e-5)
    # cos a cos b + sin a sin b = cos(a - b)
    assert (seen[0] @ seen[1]).item() == pytest.approx((seen[2] @ seen[3]).item(), abs=0.01)
    plain = FourierFeatures(2, 0, 3.0)
    assert plain(seen) is seen and plain.size == 2 and not plain.state_dict()


# Runs --------------------------------------------------------------------------------------------

METHODS = ("gan", "wgan_gp", "sngan", "dist_gan", "gn_gan")
TOYS = {"1d": (1,), "gaussians8": (2,), "25gaussians": (2,), "swiss_roll": (2,)}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("toy", [*TOYS, "stacked_mnist"])
def test_every_method_is_made_for_every_toy(toy, method):
    config = composed([f"experiment=toy_{toy}", f"gan={method}"])
    check_settings(config, "train")
    game = build_game(config, spec_of(TOYS.get(toy, (3, 32, 32))))
    assert (config.method, game.n_dis) == (method, 1)
    optimizers = [player.optimizer.keywords for player in game.players()]
    is_normalised = hasattr(game.discriminator.head, "parametrizations")
    if toy in TOYS:
        assert {options["lr"] for options in optimizers} == {1e-3}
        assert {options["betas"] for options in map(_hashed, optimizers)} == {(0.8, 0.999)}
        assert is_normalised == (method == "sngan")
    assert hasattr(game, "encoder") == (method in ("dist_gan", "gn_gan"))


def _hashed(options):
    return {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}


def test_a_game_learns_the_line(tmp_path):
    words = ["experiment=toy_1d", "gan=gn_gan", "iterations=150", "score_every=150"]
    few = ["sample_every=1000", "gan.ema_half_life_kimg=0", f"output_dir={tmp_path}"]
    train_here([*words, *few, "run_name=run", "seed=1"])
    *_, last = read_records(tmp_path / "run" / "records.jsonl")
    assert last["scores"]["W1"] < 0.2  # of a point in the middle of the data it is about 0.45


def test_a_run_leaves_pictures_and_an_animation_that_an_interruption_does_not_shorten(tmp_path):
    words = [
        *("experiment=toy_25gaussians", "gan=gan", "gan.lr_schedule=constant", "batch_size=16"),
        *("network.generator.width=16", "network.discriminator.width=16", "checkpoint_every=1"),
        *("sample_every=2", "score_every=2", "datamodule.num_items=10000"),
    ]

    def run(name, iterations):
        place = [f"output_dir={tmp_path}", f"run_name={name}", f"iterations={iterations}"]
        train_here([*words, *place])
        return tmp_path / name

    def content(folder):
        return {path.name: path.read_bytes() for path in (folder / "samples").iterdir()}

    whole = content(run("whole", 4))
    pictures = {"000000.png", "000002.png", "000004.png", "final.png"}
    assert set(whole) == {*pictures, "training.gif", "strip.png"}
    assert Image.open(tmp_path / "whole" / "samples" / "training.gif").n_frames == 3
    broken = run("broken", 3)
    train_here([f"ckpt={broken}", "iterations=4", "allow_changes=true"])
    assert content(broken) == whole
    for what, kind in (("density", "PNG"), ("training", "GIF")):
        asked = [f"run={broken}", f"what={what}"]
        assert Image.open(sample.sample(composed(asked, "sample"))).format == kind


def test_a_run_without_pictures_has_no_animation(tmp_path):
    train_here([*QUICK, "~callbacks.sample_grids", f"output_dir={tmp_path}", "run_name=run"])
    with pytest.raises(UserError, match="what=training needs the pictures of the run"):
        sample.sample(composed([f"run={tmp_path}/run", "what=training"], "sample"))
    with pytest.raises(UserError, match="avatars has none"):
        sample.sample(composed([f"run={tmp_path}/run", "what=density"], "sample"))
