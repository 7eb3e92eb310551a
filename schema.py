"""What a setting may be: read off the constructor that takes it.

A setting is an argument of the class that its group's ``_target_`` names. Its type, range and
choices are the argument's annotation, its meaning is the argument's lines in the docstring. So a
setting is described in one place, next to what it does, and a new method brings its own: help,
refusals and suggestions all come from here.
"""

import difflib
import functools
import inspect
import pkgutil
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec

from annotated_types import Ge, Gt, Le, Len, Lt, Predicate

from saddlepoint.errors import UserError
from saddlepoint.outline import outline_of

if TYPE_CHECKING:  # else imported where a value is held against a type: `losses` does without
    from pydantic import TypeAdapter

#: The largest whole number that tensors and files hold.
LARGEST = 2**63 - 1
#: Images that some machine could hold at once.
MOST_IMAGES = 2**20


def _has_target(node: dict[str, Any]) -> bool:
    return "_target_" in node


Count = Annotated[int, Ge(1)]
Natural = Annotated[int, Ge(0)]
Size = Annotated[int, Ge(1), Le(2**12)]  # what takes memory: channels, layers, ...
Images = Annotated[int, Ge(1), Le(MOST_IMAGES)]  # in memory at once
NumItems = Annotated[int, Ge(1), Le(2**26)]  # of a drawn data set
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
Node = Annotated[dict[str, Any], Predicate(_has_target)]
Nodes = dict[str, Node]

Arguments = ParamSpec("Arguments")

VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
PLAIN = (int, float, str, bool, Path, types.NoneType)
WORDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    Path: "a path",
    types.NoneType: "null",
    Node: "a mapping with a _target_",
}
BOUNDS = {Ge: "at least {}", Gt: "more than {}", Le: "at most {}", Lt: "less than {}"}


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        annotation: its type in plain values; None if it takes objects only.
        default: what it is if nobody says; `inspect.Parameter.empty` if somebody has to.
        meaning: in a sentence, from the docstring.
        takes_objects: whether it may be what a node with a ``_target_`` makes.
    """

    annotation: Any
    default: Any
    meaning: str
    takes_objects: bool = False

    def takes(self, value: Any) -> bool:
        """Whether a plain value, or the settings of an object, are of its type and in its range."""
        nodes = value if isinstance(value, list) and value else [value]
        if self.takes_objects and all(isinstance(n, Mapping) and "_target_" in n for n in nodes):
            return True
        if self.annotation is Any:
            return True
        if self.annotation is None:
            return isinstance(value, Mapping) or (value is None and self.default is None)
        if isinstance(value, int) and abs(value) > LARGEST:
            return False
        from pydantic import ValidationError

        try:
            _adapter(self.annotation).validate_python(value)
        except ValidationError:
            return False
        return True

    @property
    def words(self) -> str:
        """What it may be, in words."""
        if self.annotation is None:
            return WORDS[Node] + (" or null" if self.default is None else "")
        return in_words(self.annotation)


@functools.cache
def settings_of(target: Callable[..., Any]) -> dict[str, Setting]:
    """Settings of a class or function, by name.

    What a class takes as ``**settings`` it passes on to its base class, whose settings are its own.
    """
    found: dict[str, Setting] = {}
    for owner, function in _constructors(target):
        hints = typing.get_type_hints(function, include_extras=True)
        meanings = _meanings(owner)
        for name, parameter in inspect.signature(function).parameters.items():
            if name != "self" and parameter.kind not in VARIADIC:
                hint = hints.get(name, Any)
                setting = Setting(
                    annotation=Any if hint is Any else _plain(hint),
                    default=parameter.default,
                    meaning=meanings.get(name, ""),
                    takes_objects=_takes_objects(hint),
                )
                known = found.setdefault(name, setting)
                # What a subclass passes on with another default means what its base says.
                found[name] = replace(known, meaning=known.meaning or setting.meaning)
    return found


def _meanings(owner: Any) -> dict[str, str]:
    """What docstrings say; a dataclass is described by those of its bases too."""
    described = (
        owner.__mro__[::-1] if is_dataclass(owner) else [getattr(owner, "__init__", 0), owner]
    )
    return {k: v for one in described for k, v in meanings_in(inspect.getdoc(one) or "").items()}


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
        for name, text in re.findall(
            r"^    (\w+)(?: \([^)\n]*\))?: (.*(?:\n {6,}.*)*)", section, re.MULTILINE
        ):
            meanings[name] = " ".join(text.split())
    return meanings


def in_words(annotation: Any) -> str:
    """What values a type has: "a whole number of at least 1", "one of sum, mean, flatten"."""
    if annotation in WORDS:
        return WORDS[annotation]
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        lengths = [bound.min_length for bound in arguments[1:] if isinstance(bound, Len)]
        if lengths:
            return in_words(arguments[0]).replace("a list", f"a list of {lengths[0]}", 1)
        bounds = [
            text.format(getattr(bound, kind.__name__.lower()))
            for bound in arguments[1:]
            for kind, text in BOUNDS.items()
            if isinstance(bound, kind)
        ]
        return f"{in_words(arguments[0])} of {' and '.join(bounds)}"
    if origin is Literal:
        return " or ".join(dict.fromkeys("''" if a == "" else str(a) for a in arguments))
    if _is_union(origin):
        return " or ".join(dict.fromkeys(in_words(part) for part in arguments))
    if origin is not None and issubclass(origin, Mapping):
        return "a mapping"
    if origin is not None and issubclass(origin, Sequence | set):
        inner = [part for part in arguments if part is not Ellipsis]
        return f"a list, each {in_words(inner[0])}" if inner else "a list"
    return "a value"


def problems(
    config: Mapping[str, Any], prefix: str = "", owner: Any = None, imports: bool = True
) -> Iterator[str]:
    """Sentences on what is wrong with settings, each with the setting's dotted name.

    Args:
        config: plain values; nodes with a ``_target_`` are held against what it takes.
        prefix: dotted name of the node, with a dot at its end.
        owner: what takes these settings, where no ``_target_`` says so.
        imports: whether targets are imported; else their sources are read, and one whose source
            does not show what it takes is passed over.
    """
    target = owner
    if "_target_" in config:
        target = (target_of if imports else outlined)(config["_target_"])
        if target is None and imports:
            yield f"{prefix}_target_={config['_target_']} is nothing that can be imported."
            return
    known = settings_of(target) if target is not None else {}
    for name, value in config.items():
        if target is None or name.startswith("_"):
            continue
        if name in known:
            yield from refusal(f"{prefix}{name}", known[name], value)
        elif not takes_anything(target):
            near = nearest(name, list(known))
            hint = f"; did you mean '{prefix}{near}'?" if near else "."
            yield f"'{prefix}{name}' is no setting of {config.get('_target_', 'this')}{hint}"
    for name, value in config.items():
        yield from _problems_below(value, f"{prefix}{name}", imports)


def _problems_below(value: Any, name: str, imports: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from problems(value, f"{name}.", imports=imports)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _problems_below(part, f"{name}[{number}]", imports)


def target_of(name: Any) -> Callable[..., Any] | None:
    """What a ``_target_`` names; None if nothing."""
    try:
        found = pkgutil.resolve_name(name)
    except Exception:  # whatever an import of someone else's package raises
        return None
    return found if callable(found) else None


@functools.cache
def outlined(name: Any) -> Callable[..., Any] | None:
    """What a ``_target_`` names, without importing it; None if its source does not show it."""
    found = outline_of(name)
    try:
        settings_of(found) if found is not None else None
    except Exception:  # types that nobody but its module knows
        return None
    return found


def nearest(name: str, names: Sequence[str], cutoff: float = 0.7) -> str | None:
    """The name that was meant, if one is near."""
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=cutoff)), None)


def refusal(name: str, setting: Setting, value: Any) -> Iterator[str]:
    """The sentence on a value that a setting does not take; none if it takes it."""
    if isinstance(value, Mapping) and (of_each := _values_of(setting.annotation)) is not None:
        # The part that is wrong is named, not the mapping that it is in.
        for key, part in value.items():
            yield from refusal(f"{name}.{key}", Setting(of_each, None, ""), part)
    elif not setting.takes(value):
        about = f" ({setting.meaning.rstrip('.')})" if setting.meaning else ""
        range_ = setting.words
        if isinstance(value, int) and abs(value) > LARGEST:
            range_ += f", below {float(LARGEST):.1g}"
        yield f"{name}={written(value)} is not to be had: give {range_}{about}."


def written(value: Any) -> str:
    """A value as it is written on the command line, cut where it is long."""
    text = {None: "null", True: "true", False: "false"}.get(value) if _is_flag(value) else None
    text = " ".join(repr(value).split()) if text is None and value == "" else text or str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def checked(constructor: Callable[Arguments, None]) -> Callable[Arguments, None]:
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


def check_fields(settings: Any) -> None:
    """Let a dataclass refuse values that its fields' annotations do not allow.

    Raises:
        UserError: on the first.
    """
    for name, setting in settings_of(type(settings)).items():
        for sentence in refusal(name, setting, getattr(settings, name)):
            raise UserError(sentence)


def check(config: Mapping[str, Any]) -> None:
    """Refuse settings of which any is wrong.

    Raises:
        UserError: on the first.
    """
    for sentence in problems(config):
        raise UserError(sentence)


def _adapter(annotation: Any) -> "TypeAdapter":
    from pydantic import ConfigDict, TypeAdapter

    return TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))


def _plain(annotation: Any) -> Any:
    """The part of a type that settings can write: without classes and functions; None if none."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation == Node:
        return annotation
    if origin is Annotated:
        return None if _plain(arguments[0]) is None else annotation
    if origin is Literal or annotation in PLAIN:
        return annotation
    if _is_union(origin):
        parts = [part for part in map(_plain, arguments) if part is not None]
        return typing.Union[tuple(parts)] if parts and parts != [types.NoneType] else None  # noqa: UP007
    if isinstance(origin, type) and issubclass(origin, Mapping):
        inner = _plain(arguments[1]) if origin is dict else None
        return dict[str, Any if inner is None else inner]
    if isinstance(origin, type) and issubclass(origin, Sequence):
        inner = [_plain(part) for part in arguments if part is not Ellipsis]
        if None in inner or not inner:
            return None
        if origin is tuple and Ellipsis not in arguments:
            return Annotated[Sequence[inner[0]], Len(len(inner), len(inner))]
        return Sequence[inner[0]]
    return None


def _values_of(annotation: Any) -> Any:
    """What the values of a mapping have to be; None if it is no mapping, or holds anything."""
    is_union = _is_union(typing.get_origin(annotation))
    for part in typing.get_args(annotation) if is_union else [annotation]:
        if typing.get_origin(part) is dict and typing.get_args(part)[1] is not Any:
            return typing.get_args(part)[1]
    return None


def _takes_objects(annotation: Any) -> bool:
    """Whether a type has a part that settings cannot write."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if _is_union(origin):
        return any(map(_takes_objects, arguments))
    return annotation is Any or (origin is not Literal and _plain(annotation) is None)


def _is_union(origin: Any) -> bool:
    return origin in (typing.Union, types.UnionType)
