"""CelebA (Z. Liu, P. Luo, X. Wang, X. Tang, ICCV 2015): 202,599 faces with 40 attributes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torchvision import datasets

from saddlepoint.datamodules.archive import Folder
from saddlepoint.datamodules.base import DataModule
from saddlepoint.datamodules.decode import Decoder
from saddlepoint.datamodules.download import explain_unreadable
from saddlepoint.datamodules.face_regions import EXCLUSIVE, REGIONS, boxes_around
from saddlepoint.datamodules.fields import Attributes, Boxes, Label, Points
from saddlepoint.datamodules.image_files import ImageFiles
from saddlepoint.datamodules.source import Source
from saddlepoint.errors import UserError
from saddlepoint.schema import Size, checked, nearest

SIZE = (178, 218)  # width and height of the aligned images
LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
PAIRS = ((0, 1), (3, 4))


class CelebA(DataModule):
    """Aligned faces: the central 178x178 pixels, resized (bilinear, antialiased).

    With their attributes; as points the landmarks of the aligned images, moved with the pixels; as
    boxes the regions around these (`datamodules.face_regions`); and as ``identity`` whose faces
    they are.

    Args:
        root: the directory that holds ``celeba``.
        resolution: 64 and 128 are the published sizes; the set is named after it.
        split: "all", "train", "valid" or "test".
        attributes: names of those to serve, in this order; None serves all 40.
        settings: of `DataModule`.
    """

    @checked
    def __init__(
        self,
        root: str | Path,
        *,
        resolution: Size = 64,
        split: Literal["all", "train", "valid", "test"] = "all",
        attributes: Sequence[str] | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(f"celeba{resolution}", **settings)
        self.root = Path(root).expanduser()
        self.split, self.attributes = split, attributes
        self.decoder = Decoder(resolution=resolution, channels=3, crop=178, filter="bilinear")

    def load(self) -> Source:
        """Find the images, after a check of the MD5 sums of the lists."""
        return self._find(self.split)

    def load_held_out(self) -> tuple[str, Source] | None:
        """The test images, where those of the training split are trained on."""
        return ("test", self._find("test")) if self.split == "train" else None

    def _find(self, split: str) -> Source:
        try:
            data = datasets.CelebA(self.root, split=split)
        except (RuntimeError, FileNotFoundError) as error:
            folder = self.root / datasets.CelebA.base_folder
            lists = [(f, md5) for _, md5, f in datasets.CelebA.file_list if f.endswith(".txt")]
            files = [(folder / "img_align_celeba", None), *((folder / f, md5) for f, md5 in lists)]
            raise explain_unreadable("celeba", self.root, files) from error
        archive = Folder(self.root / data.base_folder / "img_align_celeba")
        landmarks = data.landmarks_align.unflatten(1, (-1, 2)).float()
        names = [name for name in data.attr_names if name]
        served = names if self.attributes is None else list(self.attributes)
        for name in served:
            if name not in names:
                near = nearest(name, names)
                raise UserError(f"CelebA has no attribute {name}: did you mean {near or names[0]}?")
        shown = {name: region.attributes for name, region in REGIONS.items()}
        window = self.decoder.window(SIZE)
        return Source(
            image=ImageFiles(archive, list(data.filename), self.decoder),
            attributes=Attributes(
                data.attr[:, list(map(names.index, served))].to(torch.uint8), served, EXCLUSIVE
            ),
            points=Points(landmarks, SIZE[0], PAIRS, LANDMARKS).framed(window),
            boxes=Boxes(boxes_around(landmarks), SIZE[0], shown).framed(window),
            identity=Label(data.identity.squeeze(1) - 1),
        )
