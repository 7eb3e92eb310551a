"""What a sweep and its points are called: by the words of the command line that make them."""

import hashlib
import re
from collections.abc import Collection, Iterable, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from saddlepoint.records.settings import HARMLESS, is_under

#: Characters of a name at most.
LONGEST = 80
#: A word whose name says all of it.
PLAIN = re.compile(r"[\w.]+=[\w.][\w.-]*", re.ASCII)


def name_of(words: Iterable[str]) -> str:
    """A folder's name for words of a command line: ``loss-hinge+seed-0``.

    It needs no quotes in a shell and none in Hydra's grammar. Different words have different names:
    where letters are left out, or the name would be too long, it ends with a digest of the words.

    Args:
        words: ``key=value``.
    """
    words = [re.sub(r"(?<=\de)\+(?=\d)", "", word) for word in words]  # 1e+30 is 1e30
    name = "+".join(re.sub(r"[^\w.]+", "-", word, flags=re.ASCII).strip("-") for word in words)
    if words and all(map(PLAIN.fullmatch, words)) and len(name) <= LONGEST:
        return name
    digest = hashlib.sha256("\n".join(sorted(words)).encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip('+-.') or 'sweep'}-{digest}"


def point_name(words: Iterable[str], common: Collection[str]) -> str:
    """The name of a point, by what tells it from the others of its sweep.

    Args:
        words: that it is composed from.
        common: words that all points have, see `common_words`.
    """
    own = [word for word in map(_as_sweepers_write, map(parsed, words)) if word not in common]
    return name_of(sorted(own)) if own else "point"


def common_words(words: Iterable[str]) -> list[str]:
    """Of a sweep's command line, the words of one value; a sweeper may still give some another."""
    last = {override.key_or_group: override for override in map(parsed, words)}
    return [_as_sweepers_write(word) for word in last.values() if not word.is_sweep_override()]


def identity(words: Sequence[str]) -> list[str]:
    """Of a sweep's command line, the words that say what is trained, first those of many values.

    What says where and how is left out, unless points differ in it; the order typed means nothing.
    """
    swept = [word for word in words if parsed(word).is_sweep_override()]
    fixed = [word for word in words if word not in swept]
    said = [word for word in fixed if not is_under(parsed(word).key_or_group, HARMLESS)]
    return [*sorted(swept), *sorted(said)]


def _as_sweepers_write(override: Override) -> str:
    return f"{override.get_key_element()}={override.get_value_element_as_str()}"


def parsed(word: str) -> Override:
    """A word of a command line, read by Hydra."""
    return OverridesParser.create().parse_override(word)
