"""How the processes of a run come about: by Lightning's own launch, by torchrun, or by SLURM.

What does not fit together is refused before anything is written or waits: processes that nobody
starts would be waited for, and processes too many would each train the same run.
"""

import os
from typing import Any

import pytorch_lightning as pl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from lightning_fabric.plugins.environments import (
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)

from saddlepoint.errors import UserError
from saddlepoint.gans.distributed import GameStrategy


def environment_plugins() -> list[Any]:
    """Plugins for the trainer that say where its processes come from.

    In a SLURM job Lightning would, on SIGUSR1, write a checkpoint of its own, requeue the job and
    load that one beside the run's: the run does all of it itself. And it would wait for processes
    of srun in a batch script that calls python without it.
    """
    if not SLURMEnvironment.detect() or TorchElasticEnvironment.detect():
        return []
    return [SLURMEnvironment(auto_requeue=False) if _is_of_srun() else LightningEnvironment()]


def refuse_misfits(trainer: pl.Trainer) -> None:
    """Refuse a trainer whose processes cannot find each other here.

    Raises:
        UserError: names what does not fit, and the cure.
    """
    started = _started_outside()
    wanted = trainer.num_devices * trainer.num_nodes
    if wanted > 1 and not isinstance(trainer.strategy, GameStrategy):
        raise UserError(
            f"A run in {wanted} processes needs their gradients averaged player by player: add"
            " trainer=ddp."
        )
    if started not in (None, wanted):
        raise UserError(
            f"{_starter()} has started {started} processes, and the run takes {wanted}: let the two"
            " agree, by srun --ntasks-per-node= or torchrun --nproc-per-node= on the one side, and"
            " trainer=ddp, trainer.devices= (of each machine) and trainer.num_nodes= on the other."
        )
    if trainer.num_nodes > 1 and started is None and "NODE_RANK" not in os.environ:
        raise UserError(
            f"Nobody starts processes on the {trainer.num_nodes} machines of trainer.num_nodes:"
            " use srun or torchrun, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each."
        )
    if wanted > 1:
        _refuse_in_sweeps(is_outside=started is not None)


def _refuse_in_sweeps(is_outside: bool) -> None:
    if not HydraConfig.initialized() or HydraConfig.get().mode != RunMode.MULTIRUN:
        return
    launcher = HydraConfig.get().runtime.choices["hydra/launcher"]
    if launcher == "basic" and is_outside:
        raise UserError(
            f"A sweep cannot go on in step in processes that {_starter()} has started, once a point"
            " fails: leave it out, as trainer=ddp starts those of each point; over several machines"
            " use hydra/launcher=submitit_slurm."
        )
    if launcher != "basic" and not is_outside:
        raise UserError(
            f"trainer=ddp cannot start its processes inside a worker of hydra/launcher={launcher}:"
            " leave the launcher out, so that one point after another has all devices, use"
            " hydra/launcher=submitit_slurm, or set trainer.devices=1."
        )


def _started_outside() -> int | None:
    """How many processes torchrun or SLURM has started for this run; None for neither."""
    if TorchElasticEnvironment.detect():
        return int(os.environ["WORLD_SIZE"])
    return int(os.environ["SLURM_NTASKS"]) if SLURMEnvironment.detect() and _is_of_srun() else None


def _is_of_srun() -> bool:
    """Whether srun has started this process, and not a batch script or an interactive shell."""
    return "SLURM_STEP_ID" in os.environ


def _starter() -> str:
    return "torchrun" if TorchElasticEnvironment.detect() else "SLURM"
