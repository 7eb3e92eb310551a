"""What a setting may be: read off the constructor that takes it.

A setting is an argument of the class that its group's ``_target_`` names. Its type, range and
choices are the argument's annotation, its meaning is the argument's lines in the docstring. So a
setting is described in one place, next to what it does, and a new method brings its own: help,
refusals and suggestions all come from here.
"""

import difflib
import functools
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from saddlepoint.errors import UserError

Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]

VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
PLAIN = (int, float, str, bool, Path, types.NoneType)
WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    types.NoneType: "null",
}
BOUNDS = {Ge: "at least {}", Gt: "more than {}", Le: "at most {}", Lt: "less than {}"}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        annotation: its type in plain values; None if it takes objects only.
        default: what it is if nobody says; `inspect.Parameter.empty` if somebody has to.
        meaning: in a sentence, from the docstring.
    """

    annotation: Any
    default: Any
    meaning: str

    def takes(self, value: Any) -> bool:
        """Whether a plain value is of its type and in its range."""
        if self.annotation is None:
            return True
        try:
            _adapter(self.annotation).validate_python(value)
        except ValidationError:
            return False
        return True

    @property
    def words(self) -> str:
        """What it may be, in words; "" if it takes objects only."""
        return "" if self.annotation is None else in_words(self.annotation)


@functools.cache
def settings_of(target: Callable[..., Any]) -> dict[str, Setting]:
    """Settings of a class or function, by name.

    What a class takes as ``**settings`` it passes on to its base class, whose settings are its own.
    """
    found: dict[str, Setting] = {}
    for owner, function in _constructors(target):
        hints = typing.get_type_hints(function, include_extras=True)
        meanings = meanings_in(inspect.getdoc(owner) or "")
        for name, parameter in inspect.signature(function).parameters.items():
            if name != "self" and parameter.kind not in VARIADIC:
                annotation = _plain(hints.get(name, Any))
                setting = Setting(annotation, parameter.default, meanings.get(name, ""))
                found.setdefault(name, setting)
    return found


def takes_anything(target: Callable[..., Any]) -> bool:
    """Whether it passes on what it does not know to something that is not its base class."""
    *_, (_, last) = _constructors(target)
    return any(p.kind is p.VAR_KEYWORD for p in inspect.signature(last).parameters.values())


def _constructors(target: Callable[..., Any]) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """Whose constructors settings reach: a class, and its bases as long as it passes them on."""
    if not isinstance(target, type):
        yield target, target
        return
    for base in target.__mro__:
        if "__init__" in vars(base):
            yield base, base.__init__
            parameters = inspect.signature(base.__init__).parameters.values()
            if not any(p.kind is p.VAR_KEYWORD for p in parameters):
                return


def meanings_in(docstring: str) -> dict[str, str]:
    """What a Google-style docstring says of each argument or attribute, on one line each."""
    meanings: dict[str, str] = {}
    for section in re.findall(
        r"^(?:Args|Attributes):\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE
    ):
        for name, text in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", section, re.MULTILINE):
            meanings[name] = " ".join(text.split())
    return meanings


def in_words(annotation: Any) -> str:
    """What values a type has: "a whole number of at least 1", "one of sum, mean, flatten"."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        bounds = [
            text.format(getattr(bound, kind.__name__.lower()))
            for bound in arguments[1:]
            for kind, text in BOUNDS.items()
            if isinstance(bound, kind)
        ]
        return f"{in_words(arguments[0])} of {' and '.join(bounds)}"
    if origin is Literal:
        return ", ".join(dict.fromkeys(map(str, arguments)))
    if _is_union(origin):
        return " or ".join(dict.fromkeys(in_words(part) for part in arguments))
    if origin is not None and issubclass(origin, Mapping):
        return "a mapping"
    if origin is not None and issubclass(origin, Sequence | set):
        inner = [part for part in arguments if part is not Ellipsis]
        return f"a list, each {in_words(inner[0])}" if inner else "a list"
    return WORDS.get(annotation, "a value")


def problems(config: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Sentences on what is wrong with settings, each with the setting's dotted name.

    Args:
        config: plain values; nodes with a ``_target_`` are held against what it takes.
        prefix: dotted name of the node, with a dot at its end.
    """
    from hydra.utils import get_object

    target = get_object(config["_target_"]) if "_target_" in config else None
    known = settings_of(target) if target is not None else {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from problems(value, f"{prefix}{name}.")
        elif known and not name.startswith("_"):
            if name not in known and not takes_anything(target):
                near = difflib.get_close_matches(name, known, n=1)
                hint = f"; did you mean '{prefix}{near[0]}'?" if near else "."
                yield f"'{prefix}{name}' is no setting of {config['_target_']}{hint}"
            elif name in known:
                yield from refusal(f"{prefix}{name}", known[name], value)


def refusal(name: str, setting: Setting, value: Any) -> Iterator[str]:
    """The sentence on a value that a setting does not take; none if it takes it."""
    if not setting.takes(value):
        about = f" ({setting.meaning.rstrip('.')})" if setting.meaning else ""
        yield f"{name}={value} is not to be had: give {setting.words}{about}."


def checked(constructor: Callable[..., None]) -> Callable[..., None]:
    """Let a constructor refuse plain arguments that its annotations do not allow.

    Raises:
        UserError: on the first, when it is called.
    """

    @functools.wraps(constructor)
    def checking(self: Any, *args: Any, **arguments: Any) -> None:
        given = inspect.signature(constructor).bind(self, *args, **arguments).arguments
        known = settings_of(type(self))
        for name, value in given.items():
            if name in known and isinstance(value, PLAIN):
                for sentence in refusal(name, known[name], value):
                    raise UserError(sentence)
        constructor(self, *args, **arguments)

    return checking


def check(config: Mapping[str, Any]) -> None:
    """Refuse settings of which any is wrong.

    Raises:
        UserError: on the first.
    """
    for sentence in problems(config):
        raise UserError(sentence)


def _adapter(annotation: Any) -> TypeAdapter:
    return TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))


def _plain(annotation: Any) -> Any:
    """The part of a type that settings can write: without classes and functions; None if none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return None if _plain(arguments[0]) is None else annotation
    if origin is Literal or annotation in PLAIN:
        return annotation
    if _is_union(origin):
        parts = [part for part in map(_plain, arguments) if part is not None]
        return typing.Union[tuple(parts)] if parts and parts != [types.NoneType] else None  # noqa: UP007
    if isinstance(origin, type) and issubclass(origin, Sequence):
        inner = [_plain(part) for part in arguments if part is not Ellipsis]
        return None if None in inner else Sequence[inner[0]] if inner else None
    return None


def _is_union(origin: Any) -> bool:
    return origin in (typing.Union, types.UnionType)
