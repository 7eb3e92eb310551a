"""Make pictures from a trained generator: a grid, interpolations, truncations, rows of classes."""

from pathlib import Path

import hydra
import torch
from omegaconf import DictConfig
from torch import Tensor

from errors import UserError
from gans import Game
from runs import checkpoint, command_line
from runs.build import game_of_checkpoint
from runs.pictures import save_picture


def grid(game: Game, config: DictConfig) -> tuple[Tensor, int | None]:
    """Independent samples."""
    return game.sample(config.images, seed=config.seed), None


def interpolation(game: Game, config: DictConfig) -> tuple[Tensor, int]:
    """One row a pair of latents, from one end to the other.

    Normal latents are joined along the great circle (their norm matters), uniform ones along the
    line. A row keeps the class of its first end.
    """
    ends, labels = game.latents_at(0, 2 * config.rows, config.seed)
    join = slerp if game.latent_prior == "normal" else torch.lerp
    steps = torch.linspace(0, 1, config.columns, device=ends.device)
    rows = [join(a, b, t) for a, b in ends.unflatten(0, (-1, 2)) for t in steps]
    labels = labels[::2].repeat_interleave(config.columns)
    return game.sample(latents=torch.stack(rows), labels=labels), config.columns


def truncation(game: Game, config: DictConfig) -> tuple[Tensor, int]:
    """One row a bound: the same samples with latents drawn ever further from the centre.

    The latents follow the truncated normal distribution (A. Brock et al., arXiv 1809.11096, section
    3.1), drawn through its distribution function so that a sample moves smoothly with the bound.
    """
    if game.latent_prior != "normal":
        raise UserError("what=truncation needs normal latents, and this run has uniform ones.")
    latents, labels = game.latents_at(0, config.columns, config.seed)
    rows = torch.cat([truncate(latents, bound) for bound in config.truncations])
    labels = labels.repeat(len(config.truncations))
    return game.sample(latents=rows, labels=labels), config.columns


def classes(game: Game, config: DictConfig) -> tuple[Tensor, int]:
    """One row a class, the same latents in each."""
    if not game.num_classes:
        raise UserError("what=classes needs a conditional run, such as gan=cgan_pd.")
    latents, _ = game.latents_at(0, config.columns, config.seed)
    labels = torch.arange(game.num_classes, device=latents.device)
    return (
        game.sample(
            latents=latents.repeat(game.num_classes, 1),
            labels=labels.repeat_interleave(config.columns),
        ),
        config.columns,
    )


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Point at share t of the way from vector a to vector b along the great circle."""
    cosine = torch.dot(a, b) / (a.norm() * b.norm())
    angle = torch.acos(cosine.clamp(-1 + 1e-7, 1 - 1e-7))
    return (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)


def truncate(latents: Tensor, bound: float) -> Tensor:
    """Map standard normal latents to the normal distribution cut off at +- ``bound``."""
    normal = torch.distributions.Normal(0.0, 1.0)
    low, high = normal.cdf(torch.tensor([-bound, bound], dtype=torch.float64))
    quantiles = low + (high - low) * normal.cdf(latents.double().cpu())
    return normal.icdf(quantiles).clamp(-bound, bound).to(latents)


PICTURES = {
    "grid": grid,
    "interpolation": interpolation,
    "truncation": truncation,
    "classes": classes,
}


def sample(config: DictConfig) -> Path:
    """Write one picture and return where it lies.

    Raises:
        UserError: no such picture or run, or the run cannot make it.
    """
    if config.what not in PICTURES:
        raise UserError(f"what={config.what} is no picture: choose one of {', '.join(PICTURES)}.")
    path = Path(config.run)
    if config.run == "last":
        newest = checkpoint.runs_by_age(config.output_dir)
        if not newest:
            raise UserError(f"There is no run under {config.output_dir}: train one, or give run=.")
        path = newest[0]
    game = game_of_checkpoint(checkpoint.load(path))
    game.to("cuda" if torch.cuda.is_available() else "cpu")
    samples, columns = PICTURES[config.what](game, config)
    folder = path if path.is_dir() else path.parent
    if folder.name == checkpoint.LAST.parent.name:
        folder = folder.parent
    output = Path(config.output) if config.output else folder / f"{config.what}.png"
    return save_picture(samples, output, columns)


@hydra.main(version_base="1.3", config_path="conf", config_name="sample")
def main(config: DictConfig) -> None:
    """Write one picture and say where it lies."""
    with command_line.mistakes():
        print(sample(config))


if __name__ == "__main__":
    command_line.run(main)
