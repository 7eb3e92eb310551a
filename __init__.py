"""GAN research training: methods that stack, runs that resume bit for bit, honest scores.

From Python: `train`, `load` and `compare`; each imports what it needs when it is called.
"""

from typing import TYPE_CHECKING, Any

from saddlepoint import lazy_library, waiting_modules

if TYPE_CHECKING:
    from saddlepoint.exports.generator import TrainedGenerator
    from saddlepoint.runs.from_python import Run

lazy_library.install()
waiting_modules.install()

__all__ = ["compare", "load", "train"]


def train(*words: str) -> "Run":
    """Train as ``python train.py`` does, with the words of its command line.

    ``saddlepoint.train("experiment=faces", "gan=ssgan", "iterations=500")``

    Args:
        words: settings and choices.

    Returns:
        The run: its folder, scores, and generator.

    Raises:
        UserError: a setting or the data are wrong; nothing is written then.
    """
    from saddlepoint.runs import from_python

    return from_python.train(words)


def load(where: Any, **options: Any) -> "TrainedGenerator":
    """The generator of a run, of an exported folder, or of the Hugging Face hub.

    ``saddlepoint.load("outputs/run").sample(64, seed=0)``. No code of the file is run.

    Args:
        where: a run folder or a checkpoint; "last", the newest run; a folder that ``export.py``
            wrote; or "hf://user/name", "hf://user/name@revision".
        options: ``device`` ("cpu"), ``trust``, packages whose classes the settings may name ((),
            see `runs.trust`), and ``output_dir``, where "last" looks ("outputs").

    Raises:
        UserError: there is none, it is damaged, or it names what a file may not.
    """
    from saddlepoint.exports.load import load as load_

    return load_(where, **options)


def compare(*folders: Any, best: bool = False) -> None:
    """Print the leaderboard of runs, as ``python leaderboard.py`` does.

    Args:
        folders: runs that `train` returned, or paths.
        best: take the best score of each run instead of its last.
    """
    from saddlepoint.runs import from_python

    from_python.compare(folders, best)
