"""Several processes, one game: each player's gradients are averaged over the ranks."""

from collections.abc import Callable
from typing import Any

import torch.distributed
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import Tensor, nn
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors


class GameStrategy(DDPStrategy):
    """Lightning's DDP without its wrapper.

    The wrapper expects one backward pass over all parameters; a game makes one for each update,
    over the moving player's. The game averages those itself (`average_gradients`).
    """

    def _configure_launcher(self) -> None:
        self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes)

    def configure_ddp(self) -> None:
        """Leave the game as it is; processes start from equal weights all the same."""
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
    """Replace each gradient by its mean over the ranks, in one message."""
    gradients: list[Tensor] = [p.grad for p in parameters if p.grad is not None]
    flat = _flatten_dense_tensors(gradients)
    torch.distributed.all_reduce(flat)
    flat /= torch.distributed.get_world_size()
    for gradient, mean in zip(gradients, _unflatten_dense_tensors(flat, gradients), strict=True):
        gradient.copy_(mean)


def of_all_ranks(rows: Tensor) -> Tensor:
    """The rows (n, ...) of all ranks, one rank's after the other's; without gradient."""
    if not torch.distributed.is_initialized():
        return rows
    parts = [torch.empty_like(rows) for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather(parts, rows.contiguous())
    return torch.cat(parts)
