"""The named data sets, read from tiny files in their true formats."""

import hashlib
import io
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from PIL import Image
from torchvision import datasets
from torchvision.transforms import CenterCrop, Resize
from train_cli import composed

import saddlepoint.datamodules.base
from saddlepoint.datamodules import download
from saddlepoint.datamodules.celeba import CelebA
from saddlepoint.datamodules.cifar import CIFAR10, CIFAR100
from saddlepoint.datamodules.imagenet32 import ImageNet32
from saddlepoint.datamodules.lsun import LSUNBedroom
from saddlepoint.datamodules.stacked_mnist import StackedMNIST
from saddlepoint.datamodules.stl10 import STL10
from saddlepoint.datamodules.toys import Gaussians8, Gaussians25, SwissRoll
from saddlepoint.errors import UserError

CONFIGS = Path(__file__).parents[1] / "conf" / "datamodule"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def md5_of(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def published(image, crop, size):
    """The transforms of the published baselines."""
    image = Resize(size)(CenterCrop(crop)(image) if crop else image)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


# CIFAR --------------------------------------------------------------------------------------------


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """Files of 4 images each; torchvision's MD5 sums are replaced by theirs."""
    labels = {datasets.CIFAR10: "labels", datasets.CIFAR100: "fine_labels"}
    for dataset, key in labels.items():
        folder = tmp_path / dataset.base_folder
        folder.mkdir()
        names = [name for name, _ in dataset.train_list + dataset.test_list]
        for i, name in enumerate(names):
            batch = {"data": noise(4, 3072, seed=i), key: [i, 9, 0, 1]}
            (folder / name).write_bytes(pickle.dumps(batch))
        count = 10 if key == "labels" else 100
        meta = dict(dataset.meta)
        meta_file = folder / meta["filename"]
        meta_file.write_bytes(pickle.dumps({meta["key"]: [f"class {i}" for i in range(count)]}))
        meta["md5"] = md5_of(meta_file)
        monkeypatch.setattr(dataset, "meta", meta)
        for part in ("train_list", "test_list"):
            sums = [[name, md5_of(folder / name)] for name, _ in getattr(dataset, part)]
            monkeypatch.setattr(dataset, part, sums)
    return tmp_path


def test_cifar(cifar):
    data = CIFAR10(cifar)
    assert data.spec.name == "cifar10" and data.spec.shape == (3, 32, 32)
    assert data.spec.num_items == 20 and data.spec.num_classes == 10
    assert data.spec.classes[1] == "class 1" and data.source.label.values.tolist()[:5] == [
        0,
        9,
        0,
        1,
        1,
    ]
    assert np.array_equal(
        data.source.image.values[4:8].numpy().reshape(4, -1), noise(4, 3072, seed=1)
    )
    assert CIFAR10(cifar, split="test").spec.num_items == 4
    assert CIFAR10(cifar, split="test").spec.digest != data.spec.digest
    assert CIFAR10(cifar).spec == data.spec
    held_out = data.held_out
    assert (held_out.name, held_out.spec) == ("test", CIFAR10(cifar, split="test").spec)
    assert CIFAR10(cifar, split="test").held_out is None
    share = CIFAR10(cifar, held_out=0.5)
    assert (share.held_out.name, share.spec.num_items) == ("held_out", 10)
    hundred = CIFAR100(cifar)
    assert hundred.spec.name == "cifar100" and hundred.spec.num_classes == 100
    assert hundred.source.label.values.tolist() == [0, 9, 0, 1]


def test_missing_cifar_says_where_it_was_looked_for_and_what_fetches_it(tmp_path):
    with pytest.raises(UserError) as error:
        _ = CIFAR100(tmp_path).spec
    assert f"cifar100 is not in {tmp_path}" in str(error.value)
    assert f"saddlepoint download cifar100 root={tmp_path}" in str(error.value)
    assert "\n" not in str(error.value)


def test_corrupt_cifar_names_the_file(cifar):
    path = cifar / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(b"half a")
    with pytest.raises(UserError, match=r"data_batch_3 is corrupt: delete it and fetch it with"):
        _ = CIFAR10(cifar).spec
    path.unlink()
    with pytest.raises(UserError, match=r"cifar10 is not in .*data_batch_3 is missing"):
        _ = CIFAR10(cifar).spec


def test_unknown_splits():
    for dataset in (CIFAR10, STL10, CelebA, ImageNet32, LSUNBedroom):
        with pytest.raises(UserError, match=r"split=trian is not to be had: give \w+ or"):
            dataset("data", split="trian")


# STL-10 -------------------------------------------------------------------------------------------


@pytest.fixture
def stl10(tmp_path, monkeypatch):
    folder = tmp_path / "stl10_binary"
    folder.mkdir()
    for split, count in (("unlabeled", 5), ("train", 3), ("test", 2)):
        noise(count, 3, 96, 96, seed=count).tofile(folder / f"{split}_X.bin")
        if split != "unlabeled":
            np.arange(1, count + 1, dtype=np.uint8).tofile(folder / f"{split}_y.bin")
    (folder / "class_names.txt").write_text("airplane\nbird\ncar\n")
    for part in ("train_list", "test_list"):
        sums = [[name, md5_of(folder / name)] for name, _ in getattr(datasets.STL10, part)]
        monkeypatch.setattr(datasets.STL10, part, sums)
    return tmp_path


@pytest.mark.parametrize("split", ["unlabeled", "train", "test"])
def test_stl10_agrees_with_torchvision(stl10, split):
    data = STL10(stl10, split=split, num_workers=0, cache_dir=stl10 / "cache")
    theirs = datasets.STL10(stl10, split=split)
    assert data.spec.shape == (3, 48, 48) and data.spec.num_items == len(theirs)
    assert torch.equal(data.source.image.values[1], published(theirs[1][0], None, 48))
    if split == "unlabeled":
        assert data.spec.classes == () and "label" not in data.source
        assert data.held_out.spec.classes == (), "only what is known of those trained on"
    else:
        assert data.source.label.values.tolist() == theirs.labels.tolist()
    assert data.held_out is None if split == "test" else data.held_out.name == "test"
    if split == "train":
        assert data.held_out.spec == STL10(stl10, split="test", num_workers=0).spec
    if split != "unlabeled":
        assert data.spec.classes == ("airplane", "bird", "car")


def test_stl10_missing_or_corrupt(stl10, tmp_path):
    with pytest.raises(UserError, match=r"stl10 is not in .*download stl10 root="):
        _ = STL10(tmp_path / "elsewhere").spec
    path = stl10 / "stl10_binary" / "unlabeled_X.bin"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"?")
    with pytest.raises(UserError, match=r"unlabeled_X.bin is corrupt"):
        _ = STL10(stl10, num_workers=0).spec
    path.write_bytes(content[:-1000])
    with pytest.raises(UserError, match=r"unlabeled_X.bin is corrupt"):
        _ = STL10(stl10, num_workers=0).spec


# CelebA -------------------------------------------------------------------------------------------


@pytest.fixture
def celeba(tmp_path, monkeypatch):
    folder = tmp_path / "celeba"
    images = folder / "img_align_celeba"
    images.mkdir(parents=True)
    names = [f"{i:06}.jpg" for i in range(1, 7)]
    for i, name in enumerate(names):
        Image.fromarray(noise(218, 178, 3, seed=i)).save(images / name)
    rows = {
        "list_eval_partition.txt": [f"{name} {i // 2}" for i, name in enumerate(names)],
        "identity_CelebA.txt": [f"{name} {i}" for i, name in enumerate(names)],
        "list_bbox_celeba.txt": ["6", "image_id x y w h", *(f"{name}  0 0 1 1" for name in names)],
        "list_landmarks_align_celeba.txt": [
            "6",
            "lefteye_x lefteye_y righteye_x righteye_y nose_x nose_y"
            " leftmouth_x leftmouth_y rightmouth_x rightmouth_y",
            *(
                f"{name}  {69 + i} 109 106 113 77 142 73 152 108 154"
                for i, name in enumerate(names)
            ),
        ],
        "list_attr_celeba.txt": [
            "6",
            " ".join(f"attribute_{a}" for a in range(40)) + " ",
            *(
                f"{name}  " + " ".join("1" if (i + a) % 3 else "-1" for a in range(40))
                for i, name in enumerate(names)
            ),
        ],
    }
    for name, lines in rows.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    sums = [
        (key, md5_of(folder / name) if name in rows else md5, name)
        for key, md5, name in datasets.CelebA.file_list
    ]
    monkeypatch.setattr(datasets.CelebA, "file_list", sums)
    return tmp_path


@pytest.mark.parametrize("resolution", [64, 128])
def test_celeba(celeba, resolution):
    data = CelebA(celeba, resolution=resolution, num_workers=0)
    assert data.spec.name == f"celeba{resolution}" and data.spec.num_items == 6
    assert data.spec.shape == (3, resolution, resolution) and data.spec.num_classes == 0
    assert data.spec.attributes == tuple(f"attribute_{a}" for a in range(40))
    theirs = datasets.CelebA(celeba, split="all")
    assert torch.equal(data.source.attributes.values, theirs.attr.to(torch.uint8))
    assert torch.equal(data.source.image.values[3], published(theirs[3][0], 178, resolution))
    # The central square begins in row 20; pixel centres are whole, before and after.
    x, y = ((v + 0.5) * resolution / 178 - 0.5 for v in (torch.tensor(69.0) + 3, 109 - 20))
    assert torch.allclose(data.source.points.values[3, 0], torch.stack((x, torch.tensor(y))))
    assert data.source.points.width == resolution and data.source.points.order == [1, 0, 2, 4, 3]
    assert data.source.identity.values.tolist() == [-1, 0, 1, 2, 3, 4]  # as in the file, less 1
    assert data.spec.fields["boxes"] == (4, 4) and data.spec.exclusive == ()
    assert data.spec.regions == {"mouth": (), "eyes": (), "nose": (), "chin": ()}
    few = CelebA(celeba, num_workers=0, attributes=["attribute_7", "attribute_2"])
    assert few.spec.attributes == ("attribute_7", "attribute_2")
    assert torch.equal(few.source.attributes.values, theirs.attr[:, [7, 2]].to(torch.uint8))
    with pytest.raises(UserError, match="no attribute attribut_7: did you mean attribute_7"):
        CelebA(celeba, attributes=["attribut_7"]).load()
    valid = CelebA(celeba, split="valid", num_workers=0)
    assert torch.equal(valid.source.attributes.values, data.source.attributes.values[2:4])
    assert valid.load().image.members == ["000003.jpg", "000004.jpg"]
    assert valid.held_out is None and data.held_out is None
    train = CelebA(celeba, resolution=resolution, split="train", num_workers=0)
    assert (train.spec.num_items, train.held_out.name) == (2, "test")
    assert train.held_out.source.image.values.shape == (2, 3, resolution, resolution)
    assert torch.equal(train.held_out.source.points.values, data.source.points.values[4:])
    assert torch.equal(train.held_out.source.image.values, data.source.image.values[4:])


def test_celeba_missing_or_corrupt(celeba, tmp_path):
    with pytest.raises(UserError, match=r"celeba is not in .*download celeba root="):
        _ = CelebA(tmp_path / "elsewhere").spec
    image = celeba / "celeba" / "img_align_celeba" / "000004.jpg"
    image.write_bytes(image.read_bytes()[:500])
    with pytest.raises(UserError, match=r"000004.jpg is corrupt"):
        _ = CelebA(celeba, num_workers=0).spec
    image.unlink()
    with pytest.raises(UserError, match=r"cannot read .*000004.jpg: No such file"):
        _ = CelebA(celeba, num_workers=0).spec
    (celeba / "celeba" / "list_attr_celeba.txt").write_text("6\n")
    with pytest.raises(UserError, match=r"list_attr_celeba.txt is corrupt"):
        _ = CelebA(celeba, num_workers=0).spec


# ImageNet, LSUN, stacked MNIST --------------------------------------------------------------------


def test_imagenet_from_images(tmp_path):
    images = {}
    for i, (label, size) in enumerate(
        [("n01", (300, 250)), ("n02", (230, 400)), ("n02", (200, 90))]
    ):
        images[i] = Image.fromarray(noise(size[1], size[0], 3, seed=i))
        (tmp_path / "train" / label).mkdir(parents=True, exist_ok=True)
        images[i].save(tmp_path / "train" / label / f"{i}.png")
    data = ImageNet32(tmp_path, num_workers=0)
    assert data.spec.shape == (3, 32, 32) and data.spec.classes == ("n01", "n02")
    assert data.source.label.values.tolist() == [0, 1, 1]
    for i, image in images.items():
        assert torch.equal(data.source.image.values[i], published(image, 224, 32))


def test_imagenet_from_npz_batches(tmp_path):
    for i in (1, 2, 10):
        batch = {"data": noise(3, 3072, seed=i), "labels": np.array([i, 1, 1000])}
        np.savez(tmp_path / f"train_data_batch_{i}.npz", **batch)
    data = ImageNet32(tmp_path)
    assert data.spec.num_classes == 1000 and data.spec.shape == (3, 32, 32)
    assert data.source.label.values.tolist() == [0, 0, 999, 1, 0, 999, 9, 0, 999]
    assert np.array_equal(
        data.source.image.values[3:6].reshape(3, -1).numpy(), noise(3, 3072, seed=2)
    )
    (tmp_path / "train_data_batch_2.npz").write_bytes(b"PK half")
    with pytest.raises(UserError, match=r"train_data_batch_2.npz is corrupt"):
        _ = ImageNet32(tmp_path).spec
    with pytest.raises(UserError, match=r"imagenet32 is not in .*absent"):
        _ = ImageNet32(tmp_path / "absent").spec


def test_lsun(tmp_path, monkeypatch):
    lmdb = pytest.importorskip("lmdb")
    images = [Image.fromarray(noise(256, 300 + i, 3, seed=i)) for i in range(5)]
    database = lmdb.open(str(tmp_path / "bedroom_train_lmdb"), map_size=2**24)
    with database, database.begin(write=True) as transaction:
        for i, image in enumerate(images):
            stream = io.BytesIO()
            image.save(stream, "webp", lossless=True)
            transaction.put(f"{i:040x}".encode(), stream.getvalue())
    data = LSUNBedroom(tmp_path, num_workers=0)
    assert data.spec.shape == (3, 128, 128) and data.spec.num_items == 5
    for i, image in enumerate(images):
        assert torch.equal(data.source.image.values[i], published(image, 256, 128))
    monkeypatch.setattr(saddlepoint.datamodules.base, "DECODED_AT_MOST", 0)
    large = LSUNBedroom(tmp_path, resident=False, num_workers=2)
    assert large.spec.digest.startswith("files-sha256-")
    assert torch.equal(
        torch.cat([items.image for items in large.real_batches(2)]), data.source.image.values
    )
    assert torch.equal(large.source.read(torch.tensor([2])).image, data.source.image.values[2:3])
    with pytest.raises(UserError, match=r"there is no .*bedroom_val_lmdb: LSUN comes as"):
        _ = LSUNBedroom(tmp_path, split="val").spec


def write_idx(path, array):
    header = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(header + array.tobytes())


def test_stacked_mnist(tmp_path):
    with pytest.raises(UserError, match=r"stacked_mnist is not in .*download stacked_mnist root="):
        _ = StackedMNIST(tmp_path).spec
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 30), ("t10k", 5)):
        write_idx(raw / f"{part}-images-idx3-ubyte", noise(count, 28, 28))
        write_idx(raw / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 10)
    data = StackedMNIST(tmp_path, num_items=200)
    assert data.spec.shape == (3, 28, 28) and data.spec.num_classes == 1000
    assert data.spec.classes[7] == "007"
    digits = torch.from_numpy(noise(30, 28, 28))
    for image, label in zip(
        data.source.image.values, data.source.label.values.tolist(), strict=True
    ):
        for channel, digit in zip(image, f"{label:03d}", strict=True):
            (which,) = (digits == channel).all(dim=(1, 2)).nonzero()
            assert which.item() % 10 == int(digit)
    assert StackedMNIST(tmp_path, num_items=200).spec == data.spec
    assert StackedMNIST(tmp_path, num_items=200, data_seed=1).spec.digest != data.spec.digest
    padded = StackedMNIST(tmp_path, num_items=200, resolution=32)
    assert torch.equal(padded.source.image.values[..., 2:30, 2:30], data.source.image.values)
    assert padded.source.image.values.sum() == data.source.image.values.sum()
    with pytest.raises(UserError, match="resolution=64 is not to be had: give 28 or 32"):
        StackedMNIST(tmp_path, resolution=64)
    (raw / "train-images-idx3-ubyte").write_bytes(b"\0\0\x08\x03")
    with pytest.raises(UserError, match=r"stacked_mnist in .* is corrupt"):
        _ = StackedMNIST(tmp_path).spec


# Points -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("toy", "modes"), [(Gaussians8, 8), (Gaussians25, 25)])
def test_moments_of_gaussians(toy, modes):
    data = toy(num_items=modes * 2000)
    points, labels = data.source.image.values, data.source.label.values
    assert data.spec.shape == (2,) and data.spec.num_classes == modes
    assert points.dtype == torch.float32 and 0.9 < points.abs().max() < 1.02
    for mode in range(modes):
        members = points[labels == mode]
        count, std = len(members), data.mode_std
        assert abs(count - 2000) < 6 * 2000**0.5
        assert (members.mean(dim=0) - data.mode_centres[mode]).abs().max() < 6 * std / count**0.5
        assert (members.std(dim=0) / std - 1).abs().max() < 6 / (2 * count) ** 0.5
        correlation = torch.corrcoef(members.T)[0, 1]
        assert abs(correlation) < 6 / count**0.5


def test_centres_of_gaussians():
    ring, grid = Gaussians8(), Gaussians25()
    assert torch.allclose(ring.mode_centres.norm(dim=1), torch.tensor(2 / 2.08))
    gaps = (ring.mode_centres - ring.mode_centres.roll(1, 0)).norm(dim=1)
    assert torch.allclose(gaps, gaps[0].expand(8), atol=1e-6)
    centres = {(round(4.2 * x), round(4.2 * y)) for x, y in grid.mode_centres.tolist()}
    assert centres == {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    assert ring.mode_std == pytest.approx(0.02 / 2.08)


def test_swiss_roll_without_noise_is_a_spiral():
    data = SwissRoll(std=0.0, num_items=5000)
    assert data.spec.num_classes == 0 and data.spec.shape == (2,)
    t = data.source.image.values.norm(dim=1) * 4.5 * torch.pi  # the radius is the angle
    direction = torch.stack((t.cos(), t.sin()), dim=1)
    assert torch.allclose(
        data.source.image.values * 4.5 * torch.pi, t[:, None] * direction, atol=1e-3
    )
    assert t.min() >= 1.5 * torch.pi - 1e-3 and t.max() <= 4.5 * torch.pi + 1e-3
    assert t.mean().item() == pytest.approx(3 * torch.pi, rel=0.02)


def test_points_are_served_as_they_are():
    data = Gaussians25(num_items=64, flip=True)
    data.plan(0, 16, 2, 2)
    blocks = [data.on_after_batch_transfer(block, 0) for block in data.train_dataloader()]
    shown = torch.cat([block["reals"].image for block in blocks])
    assert torch.equal(shown.sort(dim=0).values, data.source.image.values.sort(dim=0).values)
    assert Gaussians25(num_items=64).spec == data.spec
    assert Gaussians25(num_items=64, data_seed=1).spec.digest != data.spec.digest


# The command that fetches data, and the configurations --------------------------------------------


def test_download_calls_torchvision(tmp_path, monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(datasets, "CIFAR10", lambda root, download: asked.append((root, download)))
    assert download.main(["cifar10", f"root={tmp_path}/data"]) == 0
    assert asked == [(tmp_path / "data", True)] and (tmp_path / "data").is_dir()
    assert capsys.readouterr().out == f"cifar10 is in {tmp_path}/data\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "usage: saddlepoint download NAME root=DIRECTORY"),
        (["cifar10", "to=data"], "usage"),
        (["cifra10"], "did you mean cifar10?"),
        (["lsun_bedroom", "root=x"], "to x/bedroom_train_lmdb"),
        (["imagenet32", "root=x"], "x/train/CLASS"),
    ],
)
def test_download_of_nothing(arguments, message, capsys):
    assert download.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("failure", "message"),
    [
        (URLError("Name or service not known"), "no network, or the server does not answer"),
        (RuntimeError("x:\nTried y, got <urlopen error z>"), "no network, or the server does not"),
        (RuntimeError("To download files\nyou need gdown"), "To download files you need gdown"),
        (PermissionError(13, "Permission denied"), "Permission denied"),
    ],
)
def test_download_that_fails(tmp_path, monkeypatch, capsys, failure, message):
    def fail(root, download):
        raise failure

    monkeypatch.setattr(datasets, "CelebA", fail)
    assert download.main(["celeba64", f"root={tmp_path}"]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_configurations(path, tmp_path):
    config = composed([f"datamodule={path.stem}", f"data_dir={tmp_path}"])
    data = instantiate(config.datamodule, _convert_="all")
    assert isinstance(data, saddlepoint.datamodules.base.DataModule)
    of_avatars = ("relabelled", "attribute_classes", "class_split")
    assert data.name == ("avatars" if path.stem in of_avatars else path.stem)
    assert data.flip is False and data.resident is None
    embedded = ("avatars", "portraits", "attribute_classes", "class_split", "swiss_roll")
    if path.stem in embedded or path.stem.startswith("gaussians"):
        assert data.spec.num_items > 0
    else:  # nothing was fetched on the way
        with pytest.raises(UserError):
            _ = data.spec
