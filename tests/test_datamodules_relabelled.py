"""Any data set with the class ids or vectors of a file."""

import pickle

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from pictures import load, picture, put_zip
from train_cli import QUICK, composed, train_here

import saddlepoint.datamodules.base
from saddlepoint.datamodules.avatars import FACES, Avatars
from saddlepoint.datamodules.relabelled import Relabelled
from saddlepoint.datamodules.toys import Gaussians8
from saddlepoint.errors import UserError
from saddlepoint.runs import checkpoint_file
from saddlepoint.runs.trained_run import TrainedRun

ITEMS = 30
IDS = np.arange(ITEMS) % 7 // 2  # 0 to 3
VECTORS = np.random.default_rng(0).normal(size=(ITEMS, 5))


@pytest.fixture
def images(tmp_path):
    files = {f"{'ab'[i % 2]}/{i:03}.png": picture(i) for i in range(ITEMS)}
    return put_zip(tmp_path / "images.zip", files)


def written(path, values):
    kind = path.suffix
    if kind == ".npy":
        np.save(path, values)
    elif kind == ".npz":
        np.savez(path, anything=values)
    elif kind == ".csv":
        np.savetxt(path, values, delimiter=",", fmt="%.9g")
    else:
        torch.save(torch.as_tensor(values), path)
    return path


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "pt"])
def test_ids_become_classes(kind, images, tmp_path):
    data = Relabelled(load(images), written(tmp_path / f"ids.{kind}", IDS))
    assert data.spec.classes == ("0", "1", "2", "3") and data.spec.name == "images"
    assert data.spec.digest == load(images).spec.digest
    assert data.spec.annotations["label"] != load(images).spec.annotations["label"]
    assert data.source.label.values.tolist() == IDS.tolist()
    assert data.source.label.values.dtype == torch.int64
    named = Relabelled(load(images), tmp_path / f"ids.{kind}", names=[*"wxyz", "never seen"])
    assert named.spec.classes == (*"wxyz", "never seen")


@pytest.mark.parametrize("kind", ["npy", "npz", "csv", "pt"])
def test_vectors_are_added(kind, images, tmp_path):
    data = Relabelled(load(images), written(tmp_path / f"vectors.{kind}", VECTORS))
    assert data.spec.classes == ("a", "b") and data.spec.fields["vector"] == (5,)
    assert torch.allclose(data.source.vector.values, torch.from_numpy(VECTORS).float(), atol=1e-7)
    assert data.source.vector.values.dtype == torch.float32


@pytest.mark.parametrize(
    "settings", [{}, {"resident": False}, {"resident": False, "num_workers": 2, "large": True}]
)
def test_every_item_keeps_its_row(settings, images, tmp_path, monkeypatch):
    settings = {"flip": True, "resolution": 8, "channels": 3, **settings}
    if settings.pop("large", False):
        monkeypatch.setattr(saddlepoint.datamodules.base, "DECODED_AT_MOST", 0)
    ids = written(tmp_path / "ids.npy", np.arange(ITEMS))
    vectors = written(tmp_path / "vectors.npy", VECTORS)
    plain = load(images, **settings)
    data = Relabelled(Relabelled(load(images, **settings), vectors), ids)
    served = []
    for each in (plain, data):
        each.plan(0, 4, 3, 6)
        served.append(
            [each.on_after_batch_transfer(block, 0)["reals"] for block in each.train_dataloader()]
        )
    for before, block in zip(*served, strict=True):
        assert torch.equal(before.image, block.image) and torch.equal(before.index, block.index)
        assert torch.equal(block.label, block.index)
        assert torch.equal(block.vector, torch.from_numpy(VECTORS).float()[block.index])
    (items,) = data.real_batches(8, [5, 3])
    assert items.label.tolist() == [5, 3]


def test_rows_belong_to_what_is_trained_on_and_nothing_is_known_of_the_rest(images, tmp_path):
    ids = written(tmp_path / "ids.npy", np.arange(20) % 3)
    data = Relabelled(load(images, held_out=1 / 3), ids)
    assert data.spec.num_items == 20 and data.held_out.spec.num_items == 10
    assert data.held_out.name == "held_out" and data.held_out.spec.classes == ()
    assert data.held_out.spec.digest == load(images, held_out=1 / 3).held_out.spec.digest
    assert Relabelled(load(images), written(ids, IDS)).held_out is None
    vectors = written(tmp_path / "vectors.npy", VECTORS[:20])
    data = Relabelled(load(images, held_out=1 / 3), vectors)
    assert data.held_out.spec.classes == ("a", "b") and "vector" not in data.held_out.spec.fields


def test_what_the_data_say_of_themselves_stays(tmp_path):
    points = Relabelled(
        Gaussians8(num_items=ITEMS), written(tmp_path / "ids.npy", IDS), names=["p", "q", "r", "s"]
    )
    assert (points.protocol, points.extractor) == ("modes", "raw")
    assert torch.equal(points.mode_centres, Gaussians8().mode_centres)
    assert points.mode_std == Gaussians8().mode_std
    assert (Avatars().protocol, Avatars().extractor) == ("quick", "avatar-classifier")


def with_value(row, value):
    values = IDS.astype(np.float64)
    values[row] = value
    return values


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (IDS[:-1], "has 29 rows and the data set 30 items"),
        (np.vstack((VECTORS, VECTORS)), "has 60 rows and the data set 30 items"),
        (with_value(4, np.nan), "NaN or infinity in row 4"),
        (np.where(np.eye(ITEMS, 5) > 0, np.inf, VECTORS), "NaN or infinity in row 0"),
        (np.full((ITEMS, 2), 1e300), "beyond the range of float32"),
        (IDS - 1, "holds the id -1: classes count from 0"),
        (with_value(4, 0.5), "no whole numbers"),
        (with_value(4, 30), "holds the id 30, which makes more classes than there are items"),
        (with_value(4, 1e15), "holds the id 1e.15, which makes more classes"),
        (IDS.reshape(5, 6, 1), r"array of shape \(5, 6, 1\)"),
        (np.zeros((ITEMS, 0)), r"array of shape \(30, 0\)"),
        (np.float64(3), r"array of shape \(\)"),
        (IDS * 1j, "complex"),
        (IDS.astype(str), "no array of numbers"),
        (np.full(ITEMS, None), "no array of numbers .*Python objects"),  # would run what is in it
    ],
)
def test_wrong_content(values, sentence, images, tmp_path):
    np.save(tmp_path / "file.npy", values, allow_pickle=True)
    with pytest.raises(UserError, match=sentence) as error:
        _ = Relabelled(load(images), tmp_path / "file.npy").spec
    assert "\n" not in str(error.value)


class Trap:
    """What runs when it is unpickled."""

    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("ids.npy", b"\x93NUMPY half", "no array of numbers"),
        ("ids.npz", b"PK half", "no array of numbers"),
        ("ids.pt", b"half", "no array of numbers"),
        ("ids.pt", pickle.dumps(Trap(), protocol=2), "no array of numbers"),
        ("ids.npy", pickle.dumps(Trap(), protocol=2), "no array of numbers"),
        ("ids.csv", b"id\n1\n2\n", "no array of numbers"),
        ("ids.csv", b"1,2\n3\n", "no array of numbers"),
        ("ids.csv", b"", r"array of shape \(0|no array of numbers|has 0 rows"),
        ("ids.txt", b"1\n", "give a file ending in .npy, .npz, .csv, .pt"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt")
def test_files_that_are_none(name, content, sentence, images, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=sentence) as error:
        _ = Relabelled(load(images), tmp_path / name).spec
    assert "\n" not in str(error.value)


def test_missing_and_ambiguous_files(images, tmp_path):
    with pytest.raises(UserError, match="say datamodule.file="):
        _ = Relabelled(load(images), None).spec
    with pytest.raises(UserError, match=r"There is no file .*ids.npy"):
        _ = Relabelled(load(images), tmp_path / "ids.npy").spec
    np.savez(tmp_path / "ids.npz", a=IDS, b=IDS)
    with pytest.raises(UserError, match="there are 2 arrays, a, b: keep one"):
        _ = Relabelled(load(images), tmp_path / "ids.npz").spec
    vectors = written(tmp_path / "vectors.npy", VECTORS)
    with pytest.raises(UserError, match="leave out datamodule.names"):
        _ = Relabelled(load(images), vectors, names=["a"]).spec
    ids = written(tmp_path / "ids.npy", IDS)
    with pytest.raises(UserError, match="the id 3, which makes more classes than .*names"):
        _ = Relabelled(load(images), ids, names=["a", "b", "c"]).spec


# From the command line ----------------------------------------------------------------------------


def test_composed_of_any_set(images, tmp_path):
    ids = written(tmp_path / "ids.npy", IDS)
    words = [
        "datamodule=relabelled",
        "datamodule@datamodule.of=folder",
        f"datamodule.of.path={images}",
    ]
    words += [f"datamodule.file={ids}", "datamodule.of.flip=true", "datamodule.of.cache_dir=null"]
    data = instantiate(composed(words).datamodule, _convert_="all")
    assert isinstance(data, Relabelled) and data.flip and data.of.name == data.name == "images"
    assert data.spec.num_classes == 4
    vectors = written(tmp_path / "vectors.npy", VECTORS)
    words = [
        "datamodule=relabelled",
        "datamodule@datamodule.of=relabelled",
        f"datamodule.of.file={vectors}",
    ]
    words += ["datamodule@datamodule.of.of=gaussians8", f"datamodule.of.of.num_items={ITEMS}"]
    words += [f"datamodule.file={ids}"]
    data = instantiate(composed(words).datamodule, _convert_="all")
    assert data.spec.fields["vector"] == (5,) and data.spec.num_classes == 4


def test_a_class_conditional_run_on_other_labels(tmp_path):
    ids = written(tmp_path / "ids.npy", np.arange(FACES) % 3)
    run = [*QUICK, "gan=cgan_pd", "network=lite", "datamodule=relabelled", f"datamodule.file={ids}"]
    train_here([*run, f"output_dir={tmp_path}", "run_name=run", "iterations=4"])
    content = checkpoint_file.load(tmp_path / "run")
    assert content["data"]["classes"] == ["0", "1", "2"]
    assert content["data"]["digest"] == Avatars().spec.digest
    assert TrainedRun.find(tmp_path / "run", tmp_path).data().spec.num_classes == 3
    train_here([f"ckpt={tmp_path}/run", "iterations=6", "allow_changes=true"])
    written(ids, np.arange(FACES) % 2)
    with pytest.raises(UserError, match="not those this run was trained on"):
        TrainedRun.find(tmp_path / "run", tmp_path).data()


def test_a_run_on_vectors(tmp_path):
    vectors = written(tmp_path / "vectors.npy", np.random.default_rng(0).normal(size=(FACES, 4)))
    run = [*QUICK, "gan=cgan_pd", "condition=vectors", "network=lite", "datamodule=relabelled"]
    train_here([*run, f"datamodule.file={vectors}", f"output_dir={tmp_path}", "run_name=run"])
    assert checkpoint_file.load(tmp_path / "run")["data"]["fields"]["vector"] == [4]
