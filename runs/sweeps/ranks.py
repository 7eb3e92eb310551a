"""Points that several processes play: those that the first one has started go with a failed point.

Lightning starts them by the command of the first one, so that they run the sweep, too, in step.
"""

import os

import torch.distributed
from pytorch_lightning.utilities import rank_zero_only

#: Tells processes that the first one starts which point it plays.
PLAYED = "SADDLEPOINT_POINT"
#: What Lightning tells them, and by which it knows that they are there.
TOLD = ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
#: Whether something else, as torchrun, has started all processes.
_by_others = TOLD[0] in os.environ and PLAYED not in os.environ


def came_later(name: str) -> bool:
    """Whether this process was started for a later point than this one."""
    if rank_zero_only.rank == 0:
        os.environ[PLAYED] = name
        return False
    if os.environ.get(PLAYED) == name:
        del os.environ[PLAYED]
    return PLAYED in os.environ


def part() -> None:
    """Let the next point start processes of its own: those of a failed one are out of step."""
    if _by_others or not torch.distributed.is_initialized():
        return
    if rank_zero_only.rank != 0:
        os._exit(1)
    torch.distributed.destroy_process_group()
    for name in TOLD:
        os.environ.pop(name, None)
