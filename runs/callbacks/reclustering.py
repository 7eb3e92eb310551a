"""Clusters of the discriminator's own features as conditions, anew every so many iterations.

S. Liu, T. Wang, D. Bau, J.-Y. Zhu, A. Torralba. "Diverse Image Generation via Self-Conditioned
GANs", CVPR 2020, arXiv 2006.10728.
"""

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from saddlepoint.errors import UserError
from saddlepoint.evaluation.callback import untouched
from saddlepoint.evaluation.ranks import from_first_rank
from saddlepoint.gans import Game
from saddlepoint.gans.networks.conditions import MovingClasses
from saddlepoint.randomness import key_to_seed, keyed_generator
from saddlepoint.representations.clustering import k_means, matching
from saddlepoint.schema import Count, checked

BATCH = 256


class Reclustering(pl.Callback):
    """Moves the classes of a `MovingClasses` condition before iterations every, 2 every, ...

    k-means starts at the means of the clusters as they were, in the features as they are, and ids
    are matched so that most items keep theirs. All of it is a function of the game's state and the
    iteration, so a run that resumes is bit for bit the one that was not interrupted.

    Args:
        every: iterations between two clusterings.
        items: on which means are found, a random choice; all items get an id.
    """

    counts_iterations = True  # see gans/stretch.py

    @checked
    def __init__(self, every: Count = 25_000, items: Count = 25_000) -> None:
        self.every, self.items = every, items

    def check(self, data: Any, game: Game) -> None:
        """Find out before the run whether there is what it moves.

        Raises:
            UserError: the game has no such condition, or no discriminator.
        """
        if not isinstance(game.condition, MovingClasses) or not hasattr(game, "discriminator"):
            raise UserError(
                "Reclustering moves the classes of condition=moving by the features of a"
                " discriminator: choose both, or ~callbacks.reclustering."
            )

    def on_train_batch_start(self, trainer: pl.Trainer, game: Game, *_: Any) -> None:
        """Cluster anew when it is due."""
        if game.iteration and game.iteration % self.every == 0:
            with untouched(game):
                ids = from_first_rank(self.clustered(trainer.datamodule, game))
            game.condition.move(ids.to(game.device))

    @torch.no_grad()
    def clustered(self, data: Any, game: Game) -> Tensor:
        """New ids (N,) of all items."""
        game.discriminator.eval()
        features = torch.cat(
            [
                game.discriminator.features(data.items_at(rows).image.to(game.device))[1].cpu()
                for rows in torch.arange(data.spec.num_items).split(BATCH)
            ]
        ).float()
        before, k = game.condition.ids.cpu(), game.condition.num_classes
        sums = torch.zeros(k, features.shape[1]).index_add_(0, before, features)
        means = sums / before.bincount(minlength=k).clamp(min=1)[:, None]
        key = (game.seed, "reclustering", game.iteration)
        chosen = torch.randperm(len(features), generator=keyed_generator(*key))[: self.items]
        centres = k_means(features[chosen], k, key_to_seed(*key), centres=means).centres
        now = torch.cdist(features, centres).argmin(1)
        return matching(before, now, k)[now]
