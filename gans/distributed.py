"""Several processes, one game: each player's gradients are averaged over the ranks."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch.distributed
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors
from torch.nn.modules.batchnorm import _BatchNorm

from saddlepoint.schema import Positive, checked

#: Least seconds that the backend waits, also for processes that are only starting.
BACKEND_WAITS = 600


class GameStrategy(DDPStrategy):
    """Lightning's DDP without its wrapper.

    The wrapper expects one backward pass over all parameters; a game makes one for each update,
    over the moving player's. The game averages those itself (`average_gradients`).

    Args:
        timeout_s: seconds that a process may be frozen, or its machine gone, before the run ends
            with a sentence. One that lives, and lets the others wait, ends it after 10 minutes or
            after this, if it is more.
        settings: of `pytorch_lightning.strategies.DDPStrategy`.
    """

    @checked
    def __init__(self, *, timeout_s: Positive = 120.0, **settings: Any) -> None:
        waits = max(BACKEND_WAITS, timeout_s + 10)  # the backend does not say who is lost
        super().__init__(timeout=timedelta(seconds=waits), **settings)
        self.timeout_s = timeout_s

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None  # the trainer has set it by now
        self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def configure_ddp(self) -> None:
        """Leave the game as it is; processes start from equal weights all the same."""
        assert self.model is not None
        for tensor in self.model.state_dict().values():
            torch.distributed.broadcast(tensor.data, src=0)


class _Launcher(_SubprocessScriptLauncher):
    """Lightning's, without its observer, which kills this process without a word."""

    def launch(self, function: Callable, *args: Any, trainer: Any = None, **kwargs: Any) -> Any:
        if self.cluster_environment.creates_processes_externally:
            return super().launch(function, *args, trainer=trainer, **kwargs)
        self.cluster_environment.validate_settings(
            num_devices=self.num_processes, num_nodes=self.num_nodes
        )
        self._call_children_scripts()
        return function(*args, **kwargs)


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks, in one message.

    A parameter that the loss of one rank does not use counts as 0 there; one that no rank uses
    keeps no gradient, so that the optimiser passes over it.
    """
    is_used = [p.grad is not None for p in parameters]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    # Every rank sends the same numbers: the last ones say which parameters it uses.
    uses = gradients[0].new_tensor(is_used)
    *means, uses = _averaged([*gradients, uses])
    # Only who has not used all must know what the others have, and wait for the device.
    anyone = [True] * len(parameters) if all(is_used) else uses.ne(0).tolist()
    for parameter, mean, used in zip(parameters, means, anyone, strict=True):
        if not used:
            continue
        if parameter.grad is None:
            parameter.grad = mean.clone(memory_format=torch.preserve_format)
        else:
            parameter.grad.copy_(mean)


def running_averages(game: nn.Module) -> list[Tensor]:
    """Means and variances that the batch norms of a game keep for later."""
    norms = [module for module in game.modules() if isinstance(module, _BatchNorm)]
    both = [average for norm in norms for average in (norm.running_mean, norm.running_var)]
    return [average for average in both if average is not None]


def average(tensors: list[Tensor]) -> None:
    """Replace each tensor by its mean over the ranks, in one message."""
    if tensors:
        for tensor, mean in zip(tensors, _averaged(tensors), strict=True):
            tensor.copy_(mean)


def _averaged(tensors: list[Tensor]) -> list[Tensor]:
    """The means over the ranks."""
    flat = _flatten_dense_tensors(tensors)
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    return list(_unflatten_dense_tensors(flat, tensors))
