"""The order of the data: a function of the seed, whatever serves them."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch

from saddlepoint.datamodules import resident_blocks
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.fields import Attributes, Image, Label
from saddlepoint.datamodules.order import Order, Plan, epoch_flips, epoch_permutation, share_of_rank
from saddlepoint.datamodules.pixels import to_float, to_uint8
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError

ITEMS = 50


class Numbered(DataModule):
    """Image i is filled with i, but for its left column; its label and attribute follow from i."""

    def __init__(self, **settings):
        super().__init__("numbered", **settings)

    def load(self):
        numbers = torch.arange(ITEMS)
        images = numbers.to(torch.uint8).view(-1, 1, 1, 1).repeat(1, 3, 4, 4)
        images[..., 0] = 255
        return Source(
            image=Image(images),
            label=Label(numbers % 10, tuple("0123456789")),
            attributes=Attributes((numbers % 2).view(-1, 1).to(torch.uint8), ("odd",)),
        )


def blocks_of(rank=0, world_size=1, start=0, iterations=9, seed=3, stretch=1, **settings):
    data = Numbered(**{"num_workers": 0, **settings})
    data.trainer = SimpleNamespace(
        global_rank=rank,
        world_size=world_size,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )
    needs = {"batch_size": 8, "batches_per_iteration": 2, "iterations": iterations}
    data.plan(seed, start=start, stretch=stretch, **needs)
    blocks = [data.on_after_batch_transfer(block, 0) for block in data.train_dataloader()]
    if stretch > 1:
        blocks = [fetch() for functions in blocks for fetch in functions]
    assert [block["iteration"] for block in blocks] == list(range(start, iterations))
    return [block["reals"] for block in blocks]


def items_of(block):
    """Which items a block shows: the second column is neither first nor last, flipped or not."""
    return to_uint8(block["image"])[:, 0, 0, 1].long()


def assert_same(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            assert torch.equal(one[key], other[key]), key
            assert one[key].dtype == other[key].dtype


def test_every_epoch_is_a_permutation_of_its_own():
    shown = torch.cat([items_of(block) for block in blocks_of(iterations=25)])  # 8 epochs
    epochs = shown.view(8, ITEMS)
    for epoch in epochs:
        assert torch.equal(epoch.sort().values, torch.arange(ITEMS))
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 8
    other_seed = torch.cat([items_of(block) for block in blocks_of(iterations=25, seed=4)])
    assert not torch.equal(shown, other_seed)


def test_stream_is_the_concatenation_of_keyed_epochs():
    order = Order(Plan(7, 8, 2, 20, flip=True), 11)  # a block reaches over up to three epochs
    stream = torch.cat([order.block(i) for i in range(20)], dim=1)
    epochs = range(-(-stream.shape[1] // 11))
    items = torch.cat([epoch_permutation(7, e, 11) for e in epochs])[: stream.shape[1]]
    flips = torch.cat([epoch_flips(7, e, 11) for e in epochs])[: stream.shape[1]]
    assert torch.equal(stream, torch.stack((items, flips)))


def test_order_does_not_depend_on_what_was_looked_up_before():
    order, fresh = Order(Plan(1, 4, 2, 99), ITEMS), Order(Plan(1, 4, 2, 99), ITEMS)
    for iteration in (40, 3, 3, 41, 0):
        order.block(iteration)
    assert torch.equal(order.block(17), fresh.block(17))


@pytest.mark.parametrize("flip", [False, True])
def test_resident_equals_streamed_with_any_number_of_workers(flip):
    torch.manual_seed(0)
    resident = blocks_of(flip=flip, resident=True)
    for workers in (0, 1, 2):
        assert_same(resident, blocks_of(flip=flip, resident=False, num_workers=workers))
    drawn = torch.rand(3)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(3)), "serving data must not touch the global generator"


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (12_000, 3), (10**6, 7)])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_iterations_gathered_together_are_those_gathered_singly(at_once, most, start, monkeypatch):
    """An iteration has 3,392 bytes; ten epochs, one by one, a few, and as many as a stretch has."""
    monkeypatch.setattr(resident_blocks, "AT_ONCE", at_once)
    gathered, read = [], Source.read
    monkeypatch.setattr(Source, "read", lambda *of: (gathered.append(len(of[1])), read(*of))[1])
    settings = {"iterations": 30, "start": start, "flip": True, "resident": True}
    together = blocks_of(stretch=7, **settings)
    assert sum(field.nbytes for field in together[0].values()) == 3392
    assert max(gathered) == 16 * most and sum(gathered) == 16 * (30 - start)
    assert_same(together, blocks_of(**settings))
    for rank in range(2):
        assert_same(blocks_of(rank, 2, stretch=7, **settings), blocks_of(rank, 2, **settings))


@pytest.mark.parametrize("settings", [{"resident": True}, {"resident": False, "num_workers": 2}])
@pytest.mark.parametrize("start", [1, 3, 8])
def test_starting_at_any_iteration_goes_on_exactly(settings, start):
    whole = blocks_of(flip=True, **settings)
    assert_same(whole[start:], blocks_of(flip=True, start=start, **settings))


@pytest.mark.parametrize("settings", [{"resident": True}, {"resident": False}])
@pytest.mark.parametrize("world_size", [2, 4])
def test_ranks_together_see_what_one_sees(settings, world_size):
    alone = blocks_of(flip=True, **settings)
    ranks = [blocks_of(rank, world_size, flip=True, **settings) for rank in range(world_size)]
    for i, block in enumerate(alone):
        for key in ("image", "label", "attributes", "index"):
            # Batch by batch, the ranks' slices lie one behind the other.
            slices = [rank[i][key].view(2, 8 // world_size, -1) for rank in ranks]
            assert torch.equal(torch.cat(slices, dim=1).flatten(0, 1), block[key].view(16, -1))


def test_share_of_rank():
    positions = torch.arange(12)  # 2 batches of 6
    assert share_of_rank(positions, 2, 0, 3).tolist() == [0, 1, 6, 7]
    assert share_of_rank(positions, 2, 2, 3).tolist() == [4, 5, 10, 11]
    assert share_of_rank(torch.stack((positions, -positions)), 2, 1, 2).tolist() == [
        [3, 4, 5, 9, 10, 11],
        [-3, -4, -5, -9, -10, -11],
    ]


def test_batch_that_does_not_divide_among_the_ranks():
    with pytest.raises(UserError, match="a batch of 8 does not divide among 3 devices"):
        blocks_of(0, 3)


def test_labels_attributes_and_range_follow_the_images():
    for block in blocks_of():
        items = items_of(block)
        assert torch.equal(block["label"], items % 10)
        assert torch.equal(block["index"], items) and block["index"].dtype == torch.int64
        assert torch.equal(block["attributes"], (items % 2).float().view(-1, 1))
        assert block["image"].dtype == torch.float32
        assert torch.equal(block["image"][:, 0, 0, 1], items / 127.5 - 1)


def test_flips_are_keyed_and_mirror_half_of_the_images():
    shown, flipped = [], []
    for block in blocks_of(flip=True, iterations=25):
        left, right = block["image"][..., 0], block["image"][..., -1]
        is_flipped = (right == 1).all(dim=(1, 2))
        assert torch.equal(is_flipped, ~(left == 1).all(dim=(1, 2)))
        shown.append(items_of(block))
        flipped.append(is_flipped)
    flipped = torch.cat(flipped).view(8, ITEMS)
    expected = torch.stack([epoch_flips(3, epoch, ITEMS) for epoch in range(8)])
    assert torch.equal(flipped.long(), expected)
    assert 0.4 < flipped.float().mean() < 0.6
    unflipped = blocks_of(flip=False, iterations=25)
    assert torch.equal(torch.cat(shown), torch.cat([items_of(b) for b in unflipped]))
    assert all((block["image"][..., 0] == 1).all() for block in unflipped)


def test_size_decides_unless_told_otherwise():
    size_mb = ITEMS * (48 + 8 + 1) / 2**20  # image, label, attribute
    assert Numbered(resident_mb=size_mb).is_resident
    assert not Numbered(resident_mb=size_mb * 0.99).is_resident
    assert Numbered(resident=True, resident_mb=0).is_resident
    assert not Numbered(resident=False).is_resident


def test_real_batches_for_evaluation():
    data = Numbered(flip=True)
    batches = list(data.real_batches(16))
    assert [items.count for items in batches] == [16, 16, 16, 2]
    assert torch.equal(torch.cat([items.image for items in batches]), data.source.image.values)
    (items,) = data.real_batches(16, indices=[7, 3, 7])
    assert items.image[:, 0, 0, 1].tolist() == [7, 3, 7] and items.label.tolist() == [7, 3, 7]
    assert items.index.tolist() == [7, 3, 7] and items.attributes.tolist() == [[1], [1], [1]]
    assert items.image.dtype == torch.uint8


def test_pixels_come_back_exactly():
    pixels = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(to_float(pixels)), pixels)
    assert to_float(pixels)[[0, 255]].tolist() == [-1, 1]
    assert to_uint8(torch.tensor([-1.5, 1.5, 0.0])).tolist() == [0, 255, 128]


def test_plan_must_be_made_first():
    with pytest.raises(RuntimeError, match="call plan"):
        Numbered().train_dataloader()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_resident_blocks_wait_for_nothing():
    data = Numbered(flip=True)
    data.trainer = SimpleNamespace(
        global_rank=0, world_size=1, strategy=SimpleNamespace(root_device=torch.device("cuda"))
    )
    data.plan(3, batch_size=8, batches_per_iteration=2, iterations=9)
    loader = data.train_dataloader()
    torch.cuda.set_sync_debug_mode("error")
    try:
        blocks = [data.on_after_batch_transfer(block, 0) for block in loader]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for block, on_cpu in zip(blocks, blocks_of(flip=True), strict=True):
        assert torch.allclose(block["image"].cpu(), on_cpu["image"], atol=1e-6)
        assert torch.equal(block["label"].cpu(), on_cpu["label"])


class Recorder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.blocks = []

    def training_step(self, batch, batch_idx):
        self.blocks.append(batch["reals"])

    def configure_optimizers(self):
        return []


@pytest.mark.parametrize("settings", [{"resident": True}, {"resident": False, "num_workers": 2}])
def test_a_trainer_hands_over_these_blocks(settings, tmp_path):
    data = Numbered(flip=True, **settings)
    data.plan(3, batch_size=8, batches_per_iteration=2, iterations=9, start=2)
    module = Recorder()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(module, data)
    assert_same(module.blocks, blocks_of(flip=True, start=2))
