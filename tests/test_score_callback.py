import pytest
import pytorch_lightning as pl
import torch
from scoring import Pixels, evaluator, images
from torch import nn

from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Image
from saddlepoint.datamodules.pixels import to_uint8
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.evaluation.callback import ScoreCallback
from saddlepoint.evaluation.evaluator import NoScores
from saddlepoint.evaluation.frechet import FeatureStatistics, frechet_distance
from saddlepoint.evaluation.protocol import Protocol
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator
from saddlepoint.records.origin import commit
from saddlepoint.records.reading import read_records
from saddlepoint.records.record import SCHEMA


class Data(DataModule):
    def __init__(self):
        super().__init__("squares", num_workers=0)

    def load(self):
        items = images(40, 1)
        return Source(image=Image(items))


class Playing(pl.LightningModule):
    """Like a game in what the callback sees; dropout and batch norm would betray an intrusion."""

    def __init__(self, iterations=6):
        super().__init__()
        self.automatic_optimization = False
        self.iterations, self.iteration, self.kimg = iterations, 0, 0.0
        self.is_averaged, self.needs_data = False, False
        self.condition = None
        torch.manual_seed(2)
        self.generator = nn.Sequential(
            nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, 16), nn.Tanh()
        )
        self.frozen = nn.BatchNorm1d(4).eval()
        self.seeds = []

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        (self.generator(torch.randn(8, 4)) - torch.rand(8, 16)).square().mean().backward()
        optimizer.step()
        self.iteration += 1
        self.kimg += 0.008

    def configure_optimizers(self):
        return torch.optim.Adam(self.generator.parameters(), 0.01)

    def sampled(self):
        return self.generator

    def inputs_at(self, positions, seed=None, data=None):
        self.seeds.append(seed)
        z = [torch.randn(4, generator=keyed_generator(seed, k)) for k in positions]
        return Items(latents=torch.stack(z))

    @torch.no_grad()
    def sample(self, inputs):
        torch.rand(3)  # a careless draw from the global generator
        self.eval()  # and modes left changed
        return self.generator(inputs.latents).view(-1, 1, 4, 4)


class Metrics(pl.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append((step, metrics))


def score(**settings):
    return evaluator(**{"num_fake": 20, "batch_size": 7, "seeds": [3], **settings})


def fit(module, *callbacks, loggers=()):
    torch.manual_seed(1)
    data = Data()
    data.plan(0, batch_size=8, batches_per_iteration=1, iterations=module.iterations)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=list(loggers) or False,
        callbacks=list(callbacks),
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, data)
    return module


def test_scores_every_so_often_and_at_the_end(tmp_path):
    logger = Metrics()
    callback = ScoreCallback(score(), every=4, folder=tmp_path, run={"method": "toy"})
    module = fit(Playing(), callback, loggers=[logger])
    assert [(step, list(metrics)) for step, metrics in logger.rows] == [
        (4, ["FD/pixels", "kimg"]),
        (6, ["FD/pixels", "kimg"]),
    ]
    records = read_records(tmp_path / "records.jsonl")
    assert [record["iteration"] for record in records] == [4, 6]
    assert records == callback.history
    assert records[-1]["scores"] == callback.last_scores
    assert {**callback.last_scores, "kimg": module.kimg} == logger.rows[-1][1]
    assert set(module.seeds) == {3}

    real, fakes = FeatureStatistics(), FeatureStatistics()
    real.update(Pixels()(images(40, 1)).features)
    fakes.update(Pixels()(to_uint8(module.sample(module.inputs_at(range(20), 3)))).features)
    expected = frechet_distance(real, fakes)
    assert callback.last_scores["FD/pixels"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("every", "iterations"), [(None, [6]), (3, [3, 6]), (10, [6])])
def test_every(every, iterations, tmp_path):
    callback = ScoreCallback(score(), every, tmp_path)
    fit(Playing(), callback)
    assert [record["iteration"] for record in callback.history] == iterations


def test_real_images_are_passed_with_the_first_score(tmp_path):
    callback, passed = ScoreCallback(score(), 2, tmp_path), []

    class Passed(pl.Callback):
        def on_train_batch_end(self, *_):
            passed.append(sum(callback.evaluator.extractor.sizes))

    fit(Playing(), callback, Passed())
    assert passed == [0, 40 + 20, 40 + 20, 40 + 2 * 20, 40 + 2 * 20, 40 + 3 * 20]


def test_training_is_untouched(tmp_path):
    alone = fit(Playing())
    callback = ScoreCallback(score(batch_norm="batch", num_fake=64), 2, tmp_path)
    scored = fit(Playing(), callback)
    assert len(callback.history) == 3
    for name, tensor in alone.state_dict().items():
        assert torch.equal(scored.state_dict()[name], tensor), name


def test_modes_of_all_modules_are_restored(tmp_path):
    modes = []

    class After(pl.Callback):
        def on_train_batch_end(self, trainer, module, *_):
            modes.append([m.training for m in (module, *module.generator, module.frozen)])

    fit(Playing(), ScoreCallback(score(), 1, tmp_path), After())
    assert modes == [[True] * 6 + [False]] * 6


def test_record(tmp_path):
    callback = ScoreCallback(score(), None, tmp_path, {"method": "toy"}, seconds_before=1000.0)
    fit(Playing(), callback)
    (record,) = read_records(tmp_path / "records.jsonl")
    assert record["schema"] == SCHEMA
    assert record["run"] == {"method": "toy"}
    assert record["kimg"] == pytest.approx(0.048)
    assert 1000 < record["seconds"] < 1100
    protocol = Protocol(**record["protocol"])
    assert record["fingerprint"] == protocol.fingerprint
    assert (protocol.generator, protocol.num_real, protocol.num_fake) == ("raw", 40, 20)
    assert protocol.dataset_digest == Data().spec.digest
    assert record["hardware"]["device"] == "cpu" and record["hardware"]["devices"] == 1
    assert {"python", "torch", "torch-fidelity", "pytorch-lightning"} <= set(record["versions"])
    assert record["commit"] == commit()


def test_moving_average_is_named_in_the_protocol(tmp_path):
    module = Playing()
    module.is_averaged = True
    callback = ScoreCallback(score(), None, tmp_path)
    fit(module, callback)
    assert callback.history[0]["protocol"]["generator"] == "ema"


def test_collapsed_generator_has_no_score_and_trains_on(tmp_path, caplog):
    class Collapsed(Playing):
        def sample(self, inputs):
            return torch.zeros(inputs.count, 1, 4, 4)

    callback = ScoreCallback(score(), 2, tmp_path)
    assert fit(Collapsed(), callback).iteration == 6
    assert callback.history == [] and "Iteration 2 has no score" in caplog.text


def test_resumed_run_keeps_its_history(tmp_path):
    first = ScoreCallback(score(), 2, tmp_path)
    fit(Playing(), first)
    module = Playing(iterations=10)
    module.iteration = 4  # the checkpoint is older than the last score
    second = ScoreCallback(score(), 2, tmp_path, seconds_before=50.0)
    fit(module, second)
    assert [record["iteration"] for record in second.history][:3] == [2, 4, 6]
    assert second.history[:2] == first.history[:2]
    assert second.last_scores == second.history[-1]["scores"]


def test_no_score(tmp_path):
    callback = ScoreCallback(NoScores("No FID: no weights."), 2, tmp_path)
    fit(Playing(), callback)
    assert callback.history == [] and callback.last_scores == {}
    assert callback.notes == ["No FID: no weights."]
    assert not list(tmp_path.iterdir())


def test_missing_images_are_noticed_before_training(tmp_path):
    module, callback = Playing(), ScoreCallback(score(num_real=41), 2, tmp_path)
    with pytest.raises(UserError, match="41 real images and squares has 40"):
        callback.check(Data())
    with pytest.raises(UserError, match="41 real images and squares has 40"):
        fit(module, callback)
    assert module.iteration == 0
