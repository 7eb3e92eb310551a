"""The CSV file of a run: every number it logs, over all its interruptions."""

import csv
import io
import logging
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from saddlepoint.atomic import append, write_text
from saddlepoint.errors import UserError

log = logging.getLogger(__name__)


class CSVFile(Logger):
    """One ``metrics.csv`` for a run, over all its interruptions.

    Lightning's CSV logger starts anew on a resumed run; this one goes on, and drops the rows of
    iterations that the resumed run repeats.

    Args:
        path: of the file.
        iteration: where the run starts; later rows of an earlier process are dropped.
    """

    def __init__(self, path: Path, iteration: int = 0) -> None:
        super().__init__()
        self.path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists():
            self._rows = [row for row in _rows(path) if int(row["iteration"]) <= iteration]
        self._columns = list(dict.fromkeys(key for row in self._rows for key in row))
        self._is_on_disk = False  # until the first row, the file may hold what is to be dropped

    @property
    def name(self) -> str:
        """Name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """There is one version: the run's."""
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's folder holds its settings."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Append a row; a row of the same iteration is completed."""
        row = {"iteration": step, **metrics}
        if self._rows and int(self._rows[-1]["iteration"]) == step:
            self._rows[-1] |= row
            self._write_all()
            return
        self._rows.append(row)
        if self._is_on_disk and set(row) <= set(self._columns):
            text = io.StringIO(newline="")
            csv.DictWriter(text, self._columns).writerow(row)
            append(self.path, text.getvalue().encode(), flush=False)
        else:
            self._write_all()

    def _write_all(self) -> None:
        self._columns = list(dict.fromkeys([*self._columns, *self._rows[-1]]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns)
        writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue(), make_folder=False)
        self._is_on_disk = True


def _rows(path: Path) -> list[dict[str, str]]:
    """Rows of a file whose iteration and values are numbers; others are left out with a warning."""
    if not path.is_file():  # reading a pipe would never end
        raise UserError(f"{path} is no file: move it away.")
    rows, bad = [], 0
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            for row in csv.DictReader(file):
                # Cells beyond the header have no name, and missing ones no value.
                given = {key: value for key, value in row.items() if value}
                try:
                    int(given["iteration"])
                    [float(value) for value in given.values()]
                except (KeyError, ValueError, TypeError):
                    bad += 1
                else:
                    rows.append(given)
    except csv.Error:  # a cell without end
        bad += 1
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): let it be read.") from error
    if bad:
        log.warning("%d rows of %s hold no numbers and are left out", bad, path)
    return rows
