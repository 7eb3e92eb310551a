"""Which of several processes this one is, before anything that computes is imported."""

import os

#: Where launchers say it: torchrun, Lightning, SLURM, jsrun; the first that is set counts.
SAID_BY = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")


def launched_rank() -> int:
    """The rank that the launcher has given to this process; 0 where it is the only one."""
    return next((int(os.environ[name]) for name in SAID_BY if name in os.environ), 0)
