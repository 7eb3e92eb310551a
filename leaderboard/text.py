"""Numbers and names as every table shows them."""

from typing import Any

from saddlepoint.leaderboard.budget import Block
from saddlepoint.leaderboard.grouping import Table
from saddlepoint.leaderboard.reading import Score, printable
from saddlepoint.leaderboard.rows import Entry, Row
from saddlepoint.leaderboard.significance import TEST, Difference

UNKNOWN = "–"
MOST_SETTINGS = 3  # named in the name of a row
#: What the first column of every table means.
PLACES = (
    "#: the place among rows of equal budget, or the places between which the seeds leave it"
    f" ({TEST}; one seed leaves all open). Without a place: nothing to compare it with, or training"
    " is not over."
)


def number(value: float | None, spread: float | None = None) -> str:
    """A score with the digits its size deserves; small ones (KID) keep four decimals."""
    if value is None:
        return ""
    digits = 2 if abs(value) >= 1 or value == 0 else 4
    text = f"{value:.{digits}f}"
    return text if spread is None else f"{text} ± {spread:.{digits}f}"


def column(name: str, score: str) -> str:
    """Heading of a column; the extractor's name stands once, with the score that ranks."""
    base, slash, extractor = name.partition("/")
    same = slash and score.partition("/")[2] == extractor
    if name == score:
        return name.replace("/", "/\n")
    return f"{base}/…" if same else name


def cited(score: Score | None) -> str:
    """A published score, with no more digits than it was published with."""
    if score is None:
        return ""
    return f"{score.mean:g}" if score.spread is None else number(score.mean, score.spread)


def spread(value: float | None, count: int, mean: float) -> str:
    """A standard deviation with the number of seeds it is over."""
    if value is None or count < 2:
        return ""
    digits = 2 if abs(mean) >= 1 else 4
    return f"± {value:.{digits}f} (n={count})"


def training_spread(row: Row, score: str) -> str:
    """Spread over training seeds, and how many there are, be it one."""
    count = len(row.scores(score))
    return spread(row.training_spread(score), count, row.mean(score) or 0) or f"n={count}"


def place(row: Row) -> str:
    """Its place, or the places between which the test does not decide; blank without one."""
    if row.places is None:
        return ""
    first, last = row.places
    return str(first) if first == last else f"{first}–{last}"


def budget(block: Block) -> str:
    """What the rows of a block have in common."""
    if not block.is_over:
        return "training not over: no places"
    if block.kind == "any":
        return "whatever the budget"
    if block.budget is None:
        return f"{block.kind} not known"
    show = {"kimg": thousands, "hours": duration, "iterations": "{:,}".format}[block.kind]
    least, most = map(show, block.budget)
    unit = "" if block.kind == "hours" else f" {block.kind}"
    on = f" on {block.hardware}" if block.hardware else ""
    alone = ", alone at this budget" if len(block.rows) == 1 else ""
    return f"{least if least == most else f'{least}–{most}'}{unit}{on}{alone}"


def difference(value: Difference | None, mean: float) -> str:
    """A difference to the baseline with its 95 % interval."""
    if value is None:
        return ""
    digits = 2 if abs(mean) >= 1 else 4
    ends = value.interval
    shown = f"[{ends[0]:+.{digits}f}, {ends[1]:+.{digits}f}]" if ends else "(n=1: no interval)"
    return f"{value.value:+.{digits}f} {shown}".replace("-", "\N{MINUS SIGN}")


def against(row: Row, table: Table) -> str:
    """Difference of a row to the pinned baseline."""
    if row is table.baseline:
        return "baseline"
    return difference(row.against, row.mean(table.score) or 0.0)


def parameters(row: Row) -> str:
    """Parameters of each network, by the first letter of its name."""
    return " ".join(f"{name[:1].upper()} {_size(n)}" for name, n in row.run.parameters.items())


def _size(count: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return str(count)


def twin(row: Row, table: Table) -> str:
    """What it scores with the other weights, see `leaderboard.grouping.Table.other_weights`."""
    return number(table.twins.get(row.key))


def twin_heading(table: Table) -> str:
    """Of the column of `twin`."""
    return f"{'EMA' if table.other_weights == 'ema' else 'raw'} weights"


def weights(table: Table) -> str:
    """Of the generators in it: EMA or raw; blank for images from elsewhere."""
    return {"ema": "EMA", "raw": "raw"}.get(str(table.protocol.get("generator")), "")


def reference(name: str) -> str:
    """What stands in a table beside generators, and is none."""
    return printable(name)


def evaluation_spread(row: Row, score: str) -> str:
    """Spread over evaluation seeds."""
    return spread(row.evaluation_spread(score), row.evaluation_seeds(score), row.mean(score) or 0)


def kimg(row: Row) -> str:
    """How long the row's runs have trained, and whether they are done."""
    values = row.values(lambda point: point.kimg)
    if not values:
        return UNKNOWN
    text = thousands(min(values))
    if max(values) > min(values):
        text += f"–{thousands(max(values))}"
    if not row.is_over:
        text += f" ({100 * row.progress:.0f} %)"
    return text


def remarks(row: Row) -> list[str]:
    """What a reader must know of a row: runs that its scores leave out, and why."""
    notes = []
    if row.behind:
        notes.append(f"not in the score, as they are behind: {_listed(row.behind)}")
    if row.repeats:
        notes.append(f"not in the score, as their seed is there already: {_listed(row.repeats)}")
    if len(row.values(lambda point: point.commit)) > 1:
        notes.append("its runs are of different commits")
    return notes


def _listed(entries: list[Entry]) -> str:
    return ", ".join(
        f"seed {e.run.seed if e.run.seed is not None else UNKNOWN} at"
        f" {thousands(e.point.kimg)} kimg"
        for e in entries
    )


def thousands(value: float | None) -> str:
    """Thousands of images; tenths only where there are few."""
    if value is None:
        return UNKNOWN
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def duration(hours: float | None) -> str:
    """Wall-clock as 3 min, 2:05 h or 3 d 04 h."""
    if hours is None:
        return UNKNOWN
    minutes = round(hours * 60)
    if minutes < 60:
        return f"{minutes} min" if minutes else f"{hours * 3600:.0f} s"
    if minutes < 48 * 60:
        return f"{minutes // 60}:{minutes % 60:02d} h"
    return f"{minutes // 1440} d {minutes % 1440 // 60:02d} h"


def commits(row: Row) -> str:
    """Short commits, with a * where there were changes that no commit holds."""
    values = row.values(lambda point: point.commit)
    short = [f"{c.split('-')[0][:7]}{'*' if c.endswith('-dirty') else ''}" for c in values]
    return ", ".join(dict.fromkeys(short)) or UNKNOWN


def hardware(row: Row) -> str:
    """What the row's runs were trained on."""
    return ", ".join(row.values(lambda point: point.hardware or None)) or UNKNOWN


def settings(row: Row) -> str:
    """Settings that tell the row from its namesakes."""
    return ", ".join(f"{printable(key)}={printable(value)}" for key, value in row.settings.items())


def short_settings(row: Row) -> str:
    """The first of these settings, by the last part of their names; and how many more there are."""
    entries = list(row.settings.items())
    last = [key.rpartition(".")[2] for key, _ in entries]
    shown = [
        f"{printable(short if last.count(short) == 1 else key)}={_short(value)}"
        for (key, value), short in zip(entries, last, strict=True)
    ]
    more = len(shown) - MOST_SETTINGS
    # One more takes no more room than to say so.
    return ", ".join(shown if more <= 1 else [*shown[:MOST_SETTINGS], f"{more} more"])


def _short(value: Any) -> str:
    text = f"{value:g}" if isinstance(value, float) else printable(value)
    return text if len(text) <= 24 else f"{text[:23]}…"


def terms(row: Row) -> str:
    """Terms on the row's method."""
    return ", ".join(row.run.terms)


def protocol(table: Table) -> str:
    """One line on what a table's scores mean."""
    about = table.protocol
    counts = [
        f"{about[key]:,} {what}" if isinstance(about.get(key), int) else ""
        for key, what in (("num_real", "real"), ("num_fake", "generated"))
    ]
    generator = f"{weights(table)} weights" if weights(table) else ""
    parts = [" / ".join(filter(None, counts)), about.get("extractor"), generator]
    return " · ".join(printable(part) for part in parts if part)


def heading(table: Table) -> str:
    """Data set, score, protocol."""
    name = printable(table.protocol_name) if table.protocol_name else "protocol"
    which = f"{name} {table.fingerprint[:8]}"
    best = " (best over training)" if table.best else ""
    return f"{table.dataset} · {table.score}{best} · {which}"


def differences(values: dict[str, Any]) -> str:
    """What tells a protocol from the others of its data."""
    return ", ".join(f"{printable(key)} {printable(value)}" for key, value in values.items())


def mixed_versions(table: Table) -> str:
    """Versions of libraries that a table mixes; empty where it mixes none."""
    listed = [f"{name} {' and '.join(found)}" for name, found in table.mixed_versions.items()]
    return f"scored with {', '.join(listed)}" if listed else ""


def row_name(row: Row) -> str:
    """Method, terms and settings of a row in one line."""
    name = " + ".join([row.run.method, *row.run.terms])
    return f"{name} ({settings(row)})" if row.settings else name


def short_name(row: Row) -> str:
    """The same with the first of its settings alone."""
    name = " + ".join([row.run.method, *row.run.terms])
    return f"{name} ({short_settings(row)})" if row.settings else name


def count(number: int, what: str) -> str:
    """1 run, 2 runs."""
    return f"{number} {what}{'' if number == 1 else 's'}"
