"""Several processes train what one would, on all of the data, and do together what is done once."""

from functools import partial

import pytest
import torch
import torch.distributed
from rank_states import in_forks, kept_states, meet, train_on_ranks
from torch import nn
from train_cli import ROOT, composed, finish, start

from saddlepoint.gans.distributed import average_gradients
from saddlepoint.gans.networks.sync_batch_norm import synchronise
from saddlepoint.records.reading import read_records

QUIET = [
    *("monitor=none", "gan.precision=32", "run_name=run", "sample_every=1000"),
    *("checkpoint_every=1000", "~callbacks.animation", "batch_size=8"),
]
NARROW = ["network.generator.width=8", "network.discriminator.width=8"]
#: A method of each kind of game; where its networks have batch norm, that of the whole batch.
GAMES = {
    "two players with terms": [
        *("gan=sngan", "network=lite", *NARROW, "gan.n_dis=2", "gan.sync_batch_norm=true"),
        *("terms=[rotation,infomax]", "terms.infomax.gather_negatives=true"),
    ],
    "two players on points": ["gan=sngan", "network=mlp", "datamodule=gaussians8", *NARROW],
    "an encoder, and losses of the whole batch": [
        *("gan=gn_gan", "network=mlp", "datamodule=gaussians8", *NARROW),
    ],
    "an auto-encoder": ["gan=aae", *NARROW, "network.encoder.width=8", "gan.sync_batch_norm=true"],
    "images to images": [
        *("gan=stargan", "network=stargan_lite"),
        *("network.generator.width=4", "network.discriminator.width=4"),
    ],
    "images filled in": ["experiment=edit_faces"],
}
#: Gradients are sums of at most some 10^4 products (8 images of 32 x 32) in float32, of 2^-24 each:
#: in whatever order they are summed, they move weights by the same but for this part of the way.
ROUNDING = 1e4 * 2**-24


def plain_descent(words):
    """The same with plain gradient descent: Adam divides by what may be rounding alone."""
    gan = composed(words).gan
    players = [key for key in gan if key.endswith("_optimizer")]
    sgd = "{_target_:torch.optim.SGD,_partial_:true,lr:0.001}"
    return [*words, *(w for key in players for w in (f"~gan.{key}", f"+gan.{key}={sgd}"))]


def distance(states):
    """How far apart two states are, relative to how far the first has come."""
    one, other = states
    far = moved = 0.0
    for key, tensor in one["end"].items():
        if tensor.is_floating_point():
            far += (tensor - other["end"][key]).double().square().sum()
            moved += (tensor - one["start"][key]).double().square().sum()
    return float((far / moved) ** 0.5)


@pytest.mark.parametrize(
    ("game", "ranks"),
    [
        *((game, 2) for game in GAMES if game != "two players on points"),
        *(("two players with terms", 4), ("an encoder, and losses of the whole batch", 4)),
    ],
)
def test_several_processes_equal_one(game, ranks, tmp_path):
    words = plain_descent([*GAMES[game], *QUIET, "iterations=2"])
    (one,) = kept_states(tmp_path / "one", words)
    several = kept_states(tmp_path / "several", words, ranks)
    assert one["images_shown"] == several[0]["images_shown"] > 0
    apart = distance([one, several[0]])
    print(f"{game}, {ranks} processes: {apart:.1e} of the way")
    assert apart < ROUNDING
    for other in several[1:]:  # buffers of spectral and batch norm, too
        assert all(torch.equal(several[0]["end"][key], x) for key, x in other["end"].items())


def test_batch_norm_of_each_process_is_another_game_with_one_generator(tmp_path):
    words = plain_descent([*GAMES["an auto-encoder"], *QUIET, "iterations=2"])
    words.remove("gan.sync_batch_norm=true")
    (one,) = kept_states(tmp_path / "one", words)
    several = kept_states(tmp_path / "several", words, 2)
    assert distance([one, several[0]]) > ROUNDING
    assert all(torch.equal(several[0]["end"][key], x) for key, x in several[1]["end"].items())


@pytest.mark.parametrize(("ranks", "nodes"), [(2, 2), (4, 2)])
def test_all_items_are_seen_once_an_epoch_on_several_machines(ranks, nodes, tmp_path):
    words = [*GAMES["two players on points"], *QUIET, "datamodule.num_items=80", "gan.n_dis=1"]
    states = kept_states(tmp_path, [*words, "iterations=10"], ranks, nodes)
    seen = [torch.cat(state["seen"]) for state in states]
    assert all(len(own) == 80 // ranks for own in seen)
    # Where data were shared out by the rank on each machine alone, half of them would come twice.
    assert torch.cat(seen).sort().values.tolist() == list(range(80))


def test_scores_and_pictures_are_made_once_and_shared(tmp_path):
    scored = ["monitor=quick", "monitor.num_real=64", "monitor.num_fake=64", "score_every=2"]
    words = [*GAMES["two players with terms"], *QUIET, *scored, "iterations=2", "sample_every=2"]
    ddp = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
    train_on_ranks([*words, *ddp, f"output_dir={tmp_path}"], 2)
    records = list(read_records(tmp_path / "run" / "records.jsonl"))
    assert [record["iteration"] for record in records] == [2]
    assert records[0]["hardware"]["devices"] == 2
    pictures = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert pictures == ["000000.png", "000002.png", "final.png"]


def test_torchrun_trains_what_lightning_starts(tmp_path):
    words = [*GAMES["two players on points"], *QUIET, "iterations=3", "trainer=ddp"]
    words += ["trainer.accelerator=cpu", "trainer.devices=2"]
    keep = "+callbacks.keep={{_target_:rank_states.KeepStates,folder:{}}}".format
    commands = {
        "lightning": [],
        "torchrun": ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"],
    }
    processes = []
    for name, by in commands.items():
        (tmp_path / name).mkdir()
        own = [*words, keep(tmp_path / name), f"output_dir={tmp_path / name}"]
        processes.append(start(own, by=by, path=ROOT / "tests"))
    for process in processes:
        code, _, errors = finish(process)
        assert code == 0, errors
    states = [torch.load(tmp_path / n / f"rank{r}.pt")["end"] for n in commands for r in (0, 1)]
    for key, tensor in states[0].items():
        assert all(torch.equal(tensor, other[key]) for other in states[1:]), key


def test_parameters_that_some_ranks_do_not_use_average_as_in_one_process(tmp_path):
    def average(rank):
        meet(tmp_path, rank, 2)
        layers = nn.ModuleList(nn.Linear(2, 1, bias=False) for _ in range(3))
        (layers[rank](torch.ones(1, 2)) * (rank + 1)).sum().backward()
        average_gradients(list(layers.parameters()))
        torch.save([layer.weight.grad for layer in layers], tmp_path / f"{rank}.pt")

    in_forks(average, 2)
    for rank in range(2):
        first, second, unused = torch.load(tmp_path / f"{rank}.pt")
        assert first.tolist() == [[0.5, 0.5]] and second.tolist() == [[1.0, 1.0]]
        assert unused is None


def test_batch_norm_over_two_ranks_is_that_of_the_whole_batch_twice_differentiated(tmp_path):
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Tanh(), nn.BatchNorm2d(3)).double()
    weights = torch.randn(6, 3, 4, 4).double()
    images = (3 + torch.randn(6, 3, 4, 4)).double()

    def normalise(images, weights, collect):
        images.requires_grad_()
        out = network(images)
        loss = (out * weights).sum()
        (slope,) = torch.autograd.grad(loss, images, create_graph=True)
        (loss + slope.square().sum()).backward()
        for parameter in network.parameters():
            collect(parameter.grad)
        rows = [out.detach(), slope.detach(), images.grad]
        return rows, [p.grad for p in network.parameters()], network.state_dict()

    def on_rank(rank):
        meet(tmp_path, rank, 2)
        synchronise(network)
        own = images.chunk(2)[rank].clone(), weights.chunk(2)[rank]
        torch.save(normalise(*own, torch.distributed.all_reduce), tmp_path / f"{rank}.pt")

    in_forks(on_rank, 2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    rows, gradients, state = normalise(images, weights, lambda gradient: None)
    close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-9)  # of float64
    for index, whole in enumerate(rows):
        close(torch.cat([rank[0][index] for rank in ranks]), whole)
    for rank in ranks:
        close(rank[1], gradients)
        close(rank[2], state)
