"""What real images score against others of their set: no generator need do better."""

from collections.abc import Iterator
from typing import Any

import torch

from saddlepoint.errors import UserError
from saddlepoint.evaluation.evaluator import Evaluator
from saddlepoint.evaluation.fakes import Generated, labels_of
from saddlepoint.evaluation.interruption import until
from saddlepoint.evaluation.metrics.metric import SetMetric
from saddlepoint.evaluation.ranks import share
from saddlepoint.evaluation.scores import Evaluation
from saddlepoint.items import Items
from saddlepoint.randomness import keyed_generator

#: What a protocol's ``baselines`` call it.
REAL = "real"


@torch.no_grad()
def real_against_real(evaluator: Evaluator, data: Any) -> dict[str, dict[str, float]]:
    """Score real images in the place of generated ones, none of them on both sides.

    Both sides have as many as the protocol takes of its smaller side, or half of all there are. Few
    images score worse than many, so the numbers are in the name.

    Args:
        evaluator: prepared with the data.
        data: the data module of its real images.

    Returns:
        {name: {score: value}}; empty where no metric of sets can be had of so few.

    Raises:
        ScoreInterruptedError: given up.
    """
    protocol, total = evaluator.protocol, data.spec.num_items
    count = min(protocol.num_real, protocol.num_fake, total // 2)
    metrics = [metric for metric in evaluator.sets if _can_be_had(metric, data, count)]
    if not metrics:
        return {}
    order = torch.randperm(total, generator=keyed_generator(protocol.seeds[0], "real against real"))
    mine, images = share(count), evaluator.images
    filled = {}
    for of, chosen in (("of_reals", order[:count]), ("of_fakes", order[count : 2 * count])):
        filled[of] = images.collectors(metrics, of, count)
        batches = _images(data, chosen[mine.start : mine.stop], evaluator.batch_size, images.device)
        images.collect(until(images.stopped, batches), mine, filled[of], "reference")
    found = Evaluation()
    for metric in metrics:
        sides = (filled[of][metric.extractor] for of in ("of_reals", "of_fakes"))
        found.add(metric, metric.compute(*sides), evaluator.naming(metric))
    return {f"{count:,} real against {count:,} others": found.values}


def _can_be_had(metric: SetMetric, data: Any, count: int) -> bool:
    try:
        metric.check(data, count, count)
    except UserError:
        return False
    return count > 1


def _images(
    data: Any, chosen: torch.Tensor, batch_size: int, device: torch.device
) -> Iterator[Generated]:
    for items in data.real_batches(batch_size, chosen):
        image = items.image.to(device, non_blocking=True)
        yield Generated(image, labels_of(items).to(device), Items())
