"""Small parts that scores are tested with; imports nothing slow, for tests with many processes."""

from types import SimpleNamespace

import torch
from torch import nn

from saddlepoint.evaluation.fakes import Generated
from saddlepoint.extractors.extractor import Extracted, Extractor
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator


class Pixels(Extractor):
    """Means of 2 x 2 blocks: features that can be computed by hand."""

    name = "pixels"
    weights_hash = "none"

    def __init__(self):
        super().__init__()
        self.sizes = []

    def forward(self, images):
        assert images.dtype == torch.uint8
        self.sizes.append(len(images))
        return Extracted(nn.functional.avg_pool2d(images.float(), 2).flatten(1))


class PlainData:
    """What a score wants of a data module, and no more."""

    held_out = None

    def __init__(self, items, name="squares"):
        self.items = items
        self.spec = SimpleNamespace(
            name=name,
            shape=tuple(items.shape[1:]),
            num_items=len(items),
            classes=(),
            annotations={},
            digest=str(int(items.double().sum())),
        )

    def real_batches(self, batch_size, indices):
        for part in indices.split(batch_size):
            yield Items(image=self.items[part], label=torch.zeros(len(part), dtype=torch.long))


def images(count, seed, shape=(1, 4, 4)):
    """Random pixels."""
    generator = keyed_generator("images", seed)
    return torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)


def sample(n, start):
    """Float images that depend on their positions alone."""
    return torch.stack(
        [torch.rand(1, 4, 4, generator=keyed_generator("fake", k)) for k in range(start, start + n)]
    )


class Sampled:
    """Fakes of a function ``sample(n, start)``."""

    kind, count, source, fields = "raw", None, None, frozenset({"latents"})

    def __init__(self, function=sample):
        self.function = function
        self.seeds = []

    def batches(self, positions, batch_size, seed, batch_norm="eval"):
        self.seeds.append(seed)
        for start in range(positions.start, positions.stop, batch_size):
            n = min(batch_size, positions.stop - start)
            labels = torch.zeros(n, dtype=torch.long)
            yield Generated(self.function(n, start), labels, Items(latents=torch.zeros(n, 1)))


def evaluator(**settings):
    """Frechet distance of the means of 2 x 2 blocks."""
    from saddlepoint.evaluation.evaluator import Evaluator

    return Evaluator(Pixels(), **({"scores": {"fid": {}}} | settings))
