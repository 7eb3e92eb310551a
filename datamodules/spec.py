"""What a data set is, in a form that checkpoints and records keep."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from saddlepoint.datamodules.source import UNANNOTATED, Source


@dataclass(frozen=True)
class DataSpec:
    """What a data set is.

    Attributes:
        name: as it stands in records.
        shape: (C, H, W) of an image, (2,) of a point.
        num_items: how many there are; 0 where an old record does not say.
        classes: names of the classes; empty if there are none.
        attributes: names of the binary attributes; empty if there are none.
        exclusive: groups of attributes of which an item has one at most.
        regions: attributes that each region shows, by its name; empty where there are no boxes.
        digest: identifies exactly the images served, see `datamodules.digest`; whatever is known
            of them has no part in it.
        annotations: the same of each other field, by name.
        fields: shape of one item's field, by name.
    """

    name: str
    shape: tuple[int, ...]
    num_items: int = 0
    classes: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    digest: str = ""
    annotations: dict[str, str] = field(default_factory=dict)
    fields: dict[str, tuple[int, ...]] = field(default_factory=dict)
    exclusive: tuple[tuple[str, ...], ...] = ()
    regions: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def num_classes(self) -> int:
        """Number of classes; 0 if there are none."""
        return len(self.classes)

    def describes_same_data(self, other: "DataSpec") -> bool:
        """Whether the images are the same, and what both know of them."""
        shared = self.annotations.keys() & other.annotations.keys()
        return self.digest == other.digest and all(
            self.annotations[name] == other.annotations[name] for name in shared
        )

    def plain(self) -> dict[str, Any]:
        """The same in lists, numbers and strings."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> "DataSpec":
        """What `plain` gave, or an older version of it: what that lacks is empty, and 0."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: _frozen(value) for name, value in content.items() if name in known})


def spec_of(source: Source, name: str, cache_dir: Any = None) -> DataSpec:
    """Describe items; computes their digests."""
    annotations = {key: each for key, each in source.items() if key not in UNANNOTATED}
    attributes = source.names("attributes")
    exclusive = source.attributes.exclusive if "attributes" in source else ()
    known = [tuple(name for name in group if name in attributes) for group in exclusive]
    shown = source.boxes.regions if "boxes" in source else {}
    return DataSpec(
        name=name,
        shape=source.image.shape,
        num_items=source.count,
        classes=source.names("label"),
        attributes=attributes,
        digest=source.image.digest(cache_dir),
        annotations={key: each.digest(cache_dir) for key, each in annotations.items()},
        fields={key: each.shape for key, each in source.items()},
        exclusive=tuple(group for group in known if len(group) > 1),
        regions={
            region: tuple(name for name in names if name in attributes)
            for region, names in shown.items()
        },
    )


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _frozen(each) for key, each in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
