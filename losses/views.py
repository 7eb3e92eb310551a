"""One look at several views."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from saddlepoint.items import Items

#: Named tuple of features, each with a row for each image.
Features = TypeVar("Features", bound=tuple)


def look_together(
    judge: Callable[[Items], Features], views: Mapping[str, Items], *fields: str
) -> dict[str, Features]:
    """What a judge makes of each view, in one pass over all of them.

    Args:
        judge: gets the items of all views, one view's after the other's.
        views: items by name; at least one.
        fields: of the items, that it reads.
    """
    wanted = [view.only(*fields) for view in views.values()]
    if len(wanted) == 1:
        return dict.fromkeys(views, judge(wanted[0]))
    seen = judge(Items.join(wanted))
    sizes = [view.count for view in wanted]
    parts = (feature.split_with_sizes(sizes) for feature in seen)
    return {name: type(seen)(*of_view) for name, *of_view in zip(views, *parts, strict=True)}
