"""From Hydra's sweep syntax to a space.

What is searched is written as Hydra's users know it::

a=interval(0.0, 1.0)               numbers
a=tag(log, interval(1e-4, 1e-1))   numbers, by their logarithm
a=interval(1, 8)                   whole numbers, as a=int(interval(1, 8))
a=range(16, 65, 16)                numbers in steps
a=choice(x, y)                     choices, as a=x,y
"""

from collections.abc import Iterable

from hydra.core.override_parser.types import IntervalSweep, Override

from saddlepoint.errors import UserError
from saddlepoint.search.space import Choice, Interval, Parameter, Space, Steps


def split(overrides: Iterable[Override]) -> tuple[Space, list[str]]:
    """Tell what is searched from what all points share.

    Args:
        overrides: of a command line, parsed; the last one of a setting counts.

    Returns:
        The space, by the names of its settings, and the other overrides as they were written.

    Raises:
        UserError: nothing is searched, or an interval is none.
    """
    last = {override.get_key_element(): override for override in overrides}
    searched = [parameter(o) for o in last.values() if o.is_sweep_override()]
    fixed = [str(o.input_line) for o in last.values() if not o.is_sweep_override()]
    if not searched:
        raise UserError(
            "Nothing is searched: give a setting an interval, such as"
            " 'gan.generator_optimizer.lr=tag(log,interval(1e-4,1e-2))'."
        )
    return Space(tuple(sorted(searched, key=lambda one: one.key))), fixed


def parameter(override: Override) -> Parameter:
    """The parameter that a sweep over one setting means."""
    key = override.get_key_element()
    sweep = override.value()
    if isinstance(sweep, IntervalSweep):
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        return Interval(key, sweep.start, sweep.end, log="log" in sweep.tags, whole=whole)
    values = tuple(override.sweep_string_iterator())
    if len(set(values)) < len(values):
        raise UserError(f"{key} has a value twice among {', '.join(values)}: give it once.")
    if override.is_range_sweep() and len(values) > 1:
        return Steps(key, tuple(sorted(values, key=float)))
    return Choice(key, values)
