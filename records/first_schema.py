"""Records of schema 1, which do not say which way a score is better: the scores there were then."""

from collections.abc import Iterable

from saddlepoint.records.record import LARGER, SMALLER

#: Scores by the name before the extractor's, in the order in which they ranked without a Frechet
#: distance; a score that is not here was taken for one of which less is better.
DIRECTIONS = {
    "KID": SMALLER,
    "KD": SMALLER,
    "intra-FID": SMALLER,
    "intra-FD": SMALLER,
    "modes": LARGER,
    "KL": SMALLER,
    "high_quality": LARGER,
    "IS": LARGER,
    "precision": LARGER,
    "recall": LARGER,
    "density": LARGER,
    "coverage": LARGER,
}


def directions(names: Iterable[str]) -> dict[str, str]:
    """Which way each score is better; spreads, which were called so, have no direction."""
    bases = {name: name.split("/", 1)[0] for name in names}
    return {
        name: DIRECTIONS.get(base, SMALLER)
        for name, base in bases.items()
        if not base.endswith("_std")
    }


def ranking(names: Iterable[str]) -> list[str]:
    """Scores that rank: every Frechet distance over all images; without one, the first known."""
    names = list(names)
    bases = {name: name.split("/", 1)[0] for name in names}
    frechet = [name for name in names if bases[name] in ("FID", "FD")]
    by_place = [name for known in DIRECTIONS for name in names if bases[name] == known]
    return frechet or by_place[:1] or names[:1]
