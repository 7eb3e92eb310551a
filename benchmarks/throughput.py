"""What an iteration of each method costs, against the same method as a bare PyTorch loop.

    python benchmarks/throughput.py --threads 2
    python benchmarks/throughput.py --methods SNGAN --sizes 32 --width 1 --seconds 60 --clock cpu
    python benchmarks/throughput.py --methods SNGAN SSGAN --width 1 network=lite gan.n_dis=1

Each game is trained by the framework as a user trains it, frame included; after every iteration of
it comes one of the loop in `bare_loops.py`, in this process and on networks of the same form, so
that what disturbs the machine disturbs both. The ratio is that of the medians. The first iteration
warms up; the second is not timed either, but its operations and their memory are counted
(`operations.py`).

The table is printed, and stored as JSON. Further words are settings: gan.n_dis=1, terms=[infomax].
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import logging
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bare_loops
import pytorch_lightning as pl
import torch
from bare_trainer import bare_trainer
from hydra import compose, initialize_config_dir
from operations import Operations
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, IterableDataset

from saddlepoint.datamodules.spec import DataSpec
from saddlepoint.gans import Game
from saddlepoint.gans.networks.resnet import BACKBONES
from saddlepoint.items import Items
from saddlepoint.records.origin import origin, versions
from saddlepoint.runs.build import build_game

CONF = Path(__file__).resolve().parent.parent / "conf"
ATTRIBUTES = ("smiling", "glasses", "hat")
CLASSES = 4

#: Settings of each method, and its bare loop if there is one.
METHODS: dict[str, tuple[list[str], Callable | None]] = {
    "SNGAN": (["gan=sngan"], bare_loops.sngan),
    "SSGAN": (["gan=ssgan"], bare_loops.ssgan),
    "InfoMax-GAN": (["gan=infomax_gan"], bare_loops.infomax_gan),
    "DAG-GAN": (["gan=dag_gan"], bare_loops.dag_gan),
    "WGAN-GP": (["gan=wgan_gp"], bare_loops.wgan_gp),
    "DCGAN": (["gan=dcgan"], bare_loops.dcgan),
    "SAGAN": (["gan=sagan"], None),
    "MS-GAN": (["gan=ms_gan"], None),
    "InfoMax + DAG": (["gan=sngan", "terms=[infomax,dag]"], None),
    "AAE": (["gan=aae"], None),
    "Dist-GAN": (["gan=dist_gan"], None),
    "GN-GAN": (["gan=gn_gan"], None),
    "StarGAN": (["gan=stargan", "network=stargan_lite"], None),
    "FUNIT": (["gan=funit", "network=funit_small"], None),
}


@dataclasses.dataclass
class Side:
    """What is known of one of the two loops.

    Attributes:
        operations: device operations of one iteration.
        peak_mb: memory of its tensors, above that of weights, optimisers and data.
        seconds: of each iteration timed.
    """

    operations: int = 0
    peak_mb: float = 0.0
    seconds: list[float] = dataclasses.field(default_factory=list)
    _started: int = 0

    @contextlib.contextmanager
    def iteration(self, clock: Callable[[], float]) -> Iterator[None]:
        """One iteration: the first warms up, the second is counted, further ones are timed."""
        self._started += 1
        if self._started == 2:
            with Operations() as counted:
                yield
            self.operations, self.peak_mb = counted.total, counted.peak / 1e6
            return
        start = clock()
        yield
        if self._started > 2:
            self.seconds.append(clock() - start)

    @property
    def rate(self) -> float:
        """Iterations a second."""
        return 1 / statistics.median(self.seconds)


class TakeTurns(pl.Callback):
    """After every iteration of a game, one of the bare loop."""

    def __init__(self, bare: Callable[[], None] | None, clock: Callable[[], float]) -> None:
        self.bare, self.clock = bare, clock
        self.ours, self.theirs = Side(), Side()
        self._ours = contextlib.ExitStack()

    def on_train_start(self, *_: object) -> None:
        """Ours begins."""
        self._ours.enter_context(self.ours.iteration(self.clock))

    def on_train_batch_end(self, *_: object) -> None:
        """Ours ends; theirs; ours begins."""
        self._ours.close()
        if self.bare is not None:
            with self.theirs.iteration(self.clock):
                self.bare()
        self._ours.enter_context(self.ours.iteration(self.clock))

    def on_train_end(self, *_: object) -> None:
        """Drop the iteration that was not to be."""
        self._ours.pop_all()


class Blocks(IterableDataset):
    """The same reals in every iteration, for some seconds and a few iterations at least."""

    def __init__(self, reals: Items, seconds: float, turns: TakeTurns) -> None:
        self.reals, self.seconds, self.turns = reals, seconds, turns

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Blocks as a data module hands them over."""
        end, iteration = time.perf_counter() + self.seconds, 0
        while time.perf_counter() < end or len(self.turns.ours.seconds) < 3:
            yield {"iteration": iteration, "reals": self.reals}
            iteration += 1


def game_of(words: list[str], size: int, options: argparse.Namespace) -> Game:
    """A game as its settings make it, on images of noise."""
    words = [*words, *options.settings, f"gan.precision='{options.precision}'"]
    words += [f"batch_size={options.batch}"] if options.batch else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=words)
    for name, network in config.network.items():
        if name != "discriminator" or "shape" not in network:  # that of codes is small
            network.width = max(
                int((network.width or published(name, network, size)) * options.width), 4
            )
    plain = {"name": "noise", "num_items": 1, "shape": [3, size, size], "digest": ""}
    classes = [f"class {k}" for k in range(CLASSES)] if config.get("condition") else []
    fields = {"image": plain["shape"], "label": [], "target": [], "shots": [1, 3, size, size]}
    fields["attributes"] = [len(ATTRIBUTES)]
    spec = {**plain, "classes": classes, "attributes": ATTRIBUTES, "fields": fields}
    return build_game(config, DataSpec.from_plain(spec)).to(options.device)


def published(name: str, network: Any, size: int) -> int:
    """Channels of the widest layer where the settings leave them to the resolution."""
    if "dcgan" in network._target_:
        return 8 * size
    return max(getattr(BACKBONES[size], name))


def reals_of(game: Game, size: int, device: str) -> Items:
    """Reals of one iteration."""
    n = game.batches_per_iteration * game.batch_size
    images = torch.rand(n, 3, size, size, device=device) * 2 - 1
    labels = torch.arange(n, device=device) % CLASSES
    attributes = torch.randint(2, (n, len(ATTRIBUTES)), device=device).float()
    reals = Items(image=images, label=labels, attributes=attributes)
    if "shots" in game.task.reads:
        reals = reals.but(target=(labels + 1) % CLASSES, shots=images.flip(0)[:, None])
    return reals


def measure(name: str, size: int, options: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    words, bare = METHODS[name]
    torch.manual_seed(0)
    game = game_of(words, size, options)
    reals = reals_of(game, size, options.device)
    loop = None if bare is None else bare(game_of(words, size, options), reals.image)
    turns = TakeTurns(loop, clock_of(options))
    loader = DataLoader(Blocks(reals, options.seconds, turns), batch_size=None)
    bare_trainer(torch.device(options.device), turns).fit(game, loader)
    ours, theirs = turns.ours, turns.theirs
    row = {
        "method": name,
        "size": size,
        "batch": game.batch_size,
        "iterations_per_second": ours.rate,
        "images_per_second": ours.rate * game.images_shown / game.iteration,
        "operations": ours.operations,
        "peak_mb": ours.peak_mb,
        "iterations_timed": len(ours.seconds),
    }
    if bare is not None:
        row |= {
            "bare_iterations_per_second": theirs.rate,
            "bare_operations": theirs.operations,
            "bare_peak_mb": theirs.peak_mb,
            "times_faster": ours.rate / theirs.rate,
        }
    return row


def clock_of(options: argparse.Namespace) -> Callable[[], float]:
    """Seconds of the wall, or of this process on all cores."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter

    def now() -> float:
        if options.device == "cuda":
            torch.cuda.synchronize()
        return clock()

    return now


def table_of(rows: list[dict[str, Any]]) -> Table:
    """The rows for people; the bare loop in parentheses."""
    table = Table()
    for column in (
        "method",
        "px",
        "it/s",
        "real images/s",
        "operations",
        "peak MB",
        "times faster",
    ):
        table.add_column(column, justify="left" if column == "method" else "right")
    for row in rows:
        both = [
            f"{row['iterations_per_second']:.2f}",
            f"{row['operations']}",
            f"{row['peak_mb']:.0f}",
        ]
        factor = "-"
        if "times_faster" in row:
            both[0] += f" ({row['bare_iterations_per_second']:.2f})"
            both[1] += f" ({row['bare_operations']})"
            both[2] += f" ({row['bare_peak_mb']:.0f})"
            factor = f"{row['times_faster']:.2f}"
        images = f"{row['images_per_second']:.0f}"
        table.add_row(row["method"], str(row["size"]), both[0], images, *both[1:], factor)
    return table


def main() -> None:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", help="further settings of the games")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 64])
    parser.add_argument("--batch", type=int, help="images of an update; the method's by default")
    parser.add_argument("--width", type=float, default=0.25, help="share of the channels")
    parser.add_argument("--precision", choices=["auto", "bf16", "32"], default="auto")
    parser.add_argument("--threads", type=int, help="of the CPU; torch's by default")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seconds", type=float, default=15, help="of every row, both loops")
    parser.add_argument(
        "--clock", choices=["wall", "cpu"], default="wall", help="cpu: of this process"
    )
    parser.add_argument("--output", type=Path, default=Path("throughput.json"))
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore")
    if options.threads:
        torch.set_num_threads(options.threads)
    rows = []
    for name in options.methods:
        for size in options.sizes:
            rows.append(measure(name, size, options))
            print(json.dumps(rows[-1]), flush=True)
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    conditions = {
        "date": datetime.date.today().isoformat(),
        "arguments": {key: str(value) for key, value in vars(options).items()},
        "threads": torch.get_num_threads(),
        **origin(device),
        "versions": versions(),
    }
    options.output.write_text(json.dumps({**conditions, "rows": rows}, indent=1) + "\n")
    Console().print(table_of(rows))


if __name__ == "__main__":
    main()
