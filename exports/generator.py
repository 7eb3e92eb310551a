"""A trained generator without the game it was trained in."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils import parametrize

from saddlepoint.errors import UserError
from saddlepoint.gans.precision import runs_in_bfloat16
from saddlepoint.gans.tasks import PRIORS, FromLatents, Task
from saddlepoint.items import Items
from saddlepoint.runs.pictures import picture_of, to_uint8

BATCH = 250  # images at once


class TrainedGenerator:
    """Draws samples: sample i of a seed is the same whenever and wherever it is drawn.

    Args:
        network: the generator as it is sampled.
        task: what it is fed.
        seed: key of its samples, unless one is given.
        precision: "bf16", "32", or "auto", as of `gans.game.Game`.
        about: what it is: ``title``, ``iteration`` and the like.
        data: gives the data that it is fed with, where it is.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        *,
        seed: int = 0,
        precision: str | int = "auto",
        about: dict[str, Any] | None = None,
        data: Callable[[], Any] | None = None,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.task, self.seed, self.precision = task, seed, precision
        self.about = about or {}
        self._data = data

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (c, h, w) of an image."""
        return tuple(self.network.shape)

    @property
    def device(self) -> torch.device:
        """Where it draws."""
        return next(self.network.parameters()).device

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes that can be asked for; empty if there are none."""
        return tuple(getattr(self.task.condition, "names", ()))

    @property
    def parameters(self) -> int:
        """How many there are."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def to(self, device: torch.device | str) -> "TrainedGenerator":
        """Move it."""
        self.network.to(device)
        if self.task.condition is not None:
            self.task.condition.to(device)
        return self

    def sample(
        self,
        n: int = 64,
        seed: int | None = None,
        *,
        start: int = 0,
        classes: int | str | Sequence[int | str] | None = None,
    ) -> Tensor:
        """Samples (n, *shape), float32; images in [-1, 1].

        Args:
            n: how many.
            seed: key of the samples; the training's by default.
            start: position of the first.
            classes: what to draw, by name or number: one for all, or one for each.

        Raises:
            UserError: there are no such classes, or the data that it is fed with are missing.
        """
        parts = []
        for first in range(start, start + n, BATCH):
            inputs = self.inputs(range(first, min(first + BATCH, start + n)), seed)
            if classes is not None:
                asked = self._numbers(classes, n)[first - start :][: inputs.count]
                inputs = inputs.but(**{self.task.asked_as: asked.to(self.device)})
            parts.append(self.draw(inputs))
        return torch.cat(parts)

    def inputs(self, positions: range, seed: int | None = None) -> Items:
        """What it is fed for the samples at some positions."""
        data = self._data() if self.task.needs_data and self._data is not None else None
        seed = self.seed if seed is None else seed
        return self.task.shown(positions, seed, data).to(self.device)

    @torch.no_grad()
    def draw(self, inputs: Items) -> Tensor:
        """Samples (n, *shape), float32, from inputs: ``latents`` (n, d), and ``condition``."""
        self.network.eval()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.uses_bfloat16):
            return self.task.feed(self.network, inputs).float()

    def images(
        self,
        n: int = 64,
        seed: int | None = None,
        *,
        start: int = 0,
        classes: int | str | Sequence[int | str] | None = None,
    ) -> list[Image.Image]:
        """The same as Pillow's images, see `sample`."""
        pixels = to_uint8(self.sample(n, seed, start=start, classes=classes)).cpu()
        return [
            Image.fromarray(p.squeeze(0).numpy() if len(p) == 1 else p.permute(1, 2, 0).numpy())
            for p in pixels
        ]

    def grid(
        self,
        n: int = 64,
        seed: int | None = None,
        *,
        classes: int | str | Sequence[int | str] | None = None,
        columns: int | None = None,
    ) -> Image.Image:
        """One picture of n samples, which notebooks show; points as a scatter plot."""
        return picture_of(self.sample(n, seed, classes=classes), columns)

    @property
    def uses_bfloat16(self) -> bool:
        """Whether it draws in bfloat16 on this device."""
        return runs_in_bfloat16(self.precision, self.device)

    @property
    def prior(self) -> str | None:
        """Name of the distribution of its latents; None where it has none, or no named one."""
        if type(self.task) is not FromLatents:
            return None
        return next((name for name, prior in PRIORS.items() if prior is self.task.prior), None)

    def plain_network(self) -> nn.Module:
        """A copy of the network on the CPU whose weights are plain: spectral norms are applied."""
        network = copy.deepcopy(self.network).cpu()
        for module in list(network.modules()):
            if parametrize.is_parametrized(module):
                # torch's own removal changes the class, which the original shares.
                weights = {name: getattr(module, name) for name in module.parametrizations}
                del module.parametrizations
                module.__class__ = parametrize.type_before_parametrizations(module)
                for name, weight in weights.items():
                    module.register_parameter(name, nn.Parameter(weight.detach(), False))
        return network

    def _numbers(self, classes: int | str | Sequence[int | str], n: int) -> Tensor:
        condition = self.task.condition
        if condition is None or condition.kind != "classes":
            raise UserError("This generator is not asked for classes: leave classes= out.")
        wanted = [classes] * n if isinstance(classes, int | str) else list(classes)
        for each in wanted:
            if each not in self.classes and each not in range(condition.num_classes):
                raise UserError(f"There is no class {each}: choose of {', '.join(self.classes)}.")
        if len(wanted) != n:
            raise UserError(f"{len(wanted)} classes for {n} samples: give one, or as many.")
        names = self.classes
        return torch.tensor([names.index(k) if isinstance(k, str) else k for k in wanted])

    def __repr__(self) -> str:
        facts = [f"samples {tuple(self.shape)}", f"{self.parameters:,} parameters"]
        if self.about.get("iteration") is not None:
            facts.append(f"{self.about['iteration']:,} iterations")
        return f"<TrainedGenerator {self.about.get('title', '')}: {', '.join(facts)}>"
