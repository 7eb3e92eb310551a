"""Names of scores: which way is better, and which one ranks."""

#: What ranks where there is no Frechet distance, the first that is there; whether larger is better.
OTHERS = {
    "KID": False,
    "KD": False,
    "intra-FID": False,
    "intra-FD": False,
    "modes": True,
    "KL": False,
    "high_quality": True,
    "IS": True,
    "precision": True,
    "recall": True,
    "density": True,
    "coverage": True,
}


def base(name: str) -> str:
    """The name without its extractor: FD of FD/classifier."""
    return name.split("/", 1)[0]


def is_frechet(name: str) -> bool:
    """Whether it is a Frechet distance over all images: FID, or FD with its extractor."""
    return base(name) in ("FID", "FD")


def is_spread(name: str) -> bool:
    """Whether it says how far parts of one evaluation differ, and is no score itself."""
    return base(name).endswith("_std")


def larger_is_better(name: str) -> bool:
    """Direction of a score."""
    return OTHERS.get(base(name), False)


def ranking(names: list[str]) -> list[str]:
    """Scores that rank: every Frechet distance; without one, the first known score."""
    frechet = [name for name in names if is_frechet(name)]
    by_place = [name for known in OTHERS for name in names if base(name) == known]
    return frechet or by_place[:1] or names[:1]
