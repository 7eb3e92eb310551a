"""What games that edit images can do with any image: see what it shows, and change one thing."""

import torch
from torch import Tensor

from saddlepoint.gans.edits import LocalEdits, Translations
from saddlepoint.gans.game import Game
from saddlepoint.gans.networks.conditions import Editable
from saddlepoint.gans.networks.stargan import StarGANDiscriminator
from saddlepoint.items import Items


class Editing(Game):
    """A game whose task has ``edit(items, choice)`` and whose discriminator has ``shows``."""

    condition: Editable
    task: Translations | LocalEdits
    discriminator: StarGANDiscriminator

    @property
    def columns(self) -> int:
        """Changes that a picture shows, each in a column."""
        return min(len(self.condition.names), 12)

    @torch.no_grad()
    def seen_in(self, images: Tensor) -> Tensor:
        """What the discriminator sees in images (n, *shape): classes (n,), or attributes (n, A)."""
        shown = self.discriminator.shows(self.discriminator.features(images)[1])
        return shown.argmax(1) if self.condition.kind == "classes" else (shown > 0).float()

    def each_edit(self, items: Items) -> dict[str, Tensor]:
        """Images of some items, and by its name each change of them."""
        outputs = {"input": items.image}
        for choice, name in enumerate(self.condition.names[: self.columns]):
            outputs[name] = self.sample(self.task.edit(items, choice))
        return outputs
