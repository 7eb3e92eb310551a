"""What is known of an edit: which attributes it asks for, where it may show, and its truth.

A game says what it was asked for as ``target``. Here that becomes what metrics of pairs read, the
same for every game and for the baselines beside it.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from saddlepoint.items import Items

#: Fields of the data that what is known of edits comes from.
KNOWN_FROM = {"wanted": ("attributes",), "mask": ("boxes",), "truth": ("attributes", "edits")}


def read_for(fields: Iterable[str]) -> set[str]:
    """Fields of the data that are read for those of a pair."""
    fields = set(fields)
    return fields.union(*(KNOWN_FROM.get(field, ()) for field in fields))


def told(inputs: Items, spec: Any) -> Items:
    """Add what is known of edits to what a generator was fed.

    ``wanted`` (n, A): the attributes asked for, where the data have attributes. ``mask``
    (n, 1, H, W), where the inputs have none and the data know regions: 1 where the attribute asked
    for shows, by a mask of the region's name or else by its box. ``truth`` (n, *shape), where the
    data know ``edits``: the image with that attribute changed, or as it was where nothing is.

    Args:
        inputs: with ``target``: attributes (n, A) that differ from the items' own in one, or within
            one group of exclusive ones; or classes (n,), of which some bear the names of
            attributes.
        spec: of the data that they come from, see `datamodules.spec.DataSpec`.
    """
    more = Items()
    edits = inputs.get("edits")
    wanted = _wanted(inputs, spec)
    if wanted is not None:
        more["wanted"] = wanted
        asked, is_asked = asked_attribute(inputs.attributes, wanted)
        if "mask" not in inputs and "boxes" in inputs:
            more["mask"] = _region(inputs, spec, asked) * _as_map(is_asked, inputs.image)
        if edits is not None:
            edited = edits[torch.arange(len(asked), device=asked.device), asked]
            more["truth"] = torch.where(_as_map(is_asked, edited).bool(), edited, inputs.image)
    return Items({name: field for name, field in inputs.but(**more).items() if name != "edits"})


def mask_of(boxes: Tensor, height: int, width: int) -> Tensor:
    """Pixels whose centres lie in boxes (n, 4): float (n, 1, height, width) of 0 and 1."""
    left, top, right, bottom = boxes[:, :, None].unbind(1)
    x = torch.arange(width, device=boxes.device) + 0.5
    y = torch.arange(height, device=boxes.device) + 0.5
    columns, rows = (left < x) & (x < right), (top < y) & (y < bottom)
    return (rows[:, :, None] & columns[:, None, :]).float().unsqueeze(1)


def _wanted(inputs: Items, spec: Any) -> Tensor | None:
    """Attributes (n, A) that are asked for; None where the target says nothing of them."""
    target, own = inputs.get("target"), inputs.get("attributes")
    if target is None or own is None:
        return None
    if target.shape == own.shape:
        return target
    named = [name for name in spec.classes if name in spec.attributes]
    if target.ndim != 1 or not named:
        return None
    # A class that bears an attribute's name takes the place of others that exclude it.
    wanted = own.clone()
    for number, name in enumerate(spec.classes):
        if name in spec.attributes:
            rows = target == number
            group = next((g for g in spec.exclusive if name in g), (name,))
            for other in group:
                wanted[rows, spec.attributes.index(other)] = float(other == name)
    return wanted


def asked_attribute(own: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """The attribute (n,) that is put on, or else taken off; and whether there is any."""
    own, wanted = own > 0.5, wanted > 0.5
    put_on, changed = wanted & ~own, wanted != own
    asked = torch.where(put_on.any(1, keepdim=True), put_on, changed)
    return asked.float().argmax(1), changed.any(1)


def _region(inputs: Items, spec: Any, asked: Tensor) -> Tensor:
    """Masks (n, 1, H, W) of the first region that shows the attribute asked for; 0 without any."""
    height, width = inputs.image.shape[2:]
    mask = torch.zeros(len(asked), 1, height, width, device=asked.device)
    for number, (region, attributes) in reversed(list(enumerate(spec.regions.items()))):
        shown = torch.tensor([name in attributes for name in spec.attributes]).to(asked.device)
        known = inputs.get(region)
        if known is None or known.shape != mask.shape:
            known = mask_of(inputs.boxes[:, number], height, width)
        mask = torch.where(_as_map(shown[asked], mask).bool(), known, mask)
    return mask


def _as_map(of_items: Tensor, images: Tensor) -> Tensor:
    """Numbers (n,) as float (n, 1, 1, 1), to lie on images."""
    return of_items.float().view(-1, *[1] * (images.ndim - 1))
