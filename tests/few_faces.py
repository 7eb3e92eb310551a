"""Some of the embedded faces, for tests of stages: a data module that settings can name."""

import torch

from saddlepoint.datamodules.avatars import Avatars, load_avatars

COUNT = 96
#: For the command line.
FEW = ["~datamodule", "+datamodule._target_=few_faces.FewFaces", "network=lite"]


class FewFaces(Avatars):
    def load(self):
        return load_avatars().only(torch.arange(COUNT))
