"""A step of fused Adam without what torch does around it.

The step is two operations. Around them torch looks for accelerators, opens a range for a profiler
and sorts the parameters by their devices, which on a small network takes four times as long.
"""

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer
from torch.optim import optimizer as hooks_of_all


def make_step(optimizer: Optimizer) -> None:
    """Make one step, as ``optimizer.step()`` does and to the same numbers.

    Whether an optimiser is a plain fused Adam is looked up in every step: whoever adds a hook to
    it, profiles it or changes its settings finds torch's own step. So do parameters on a GPU, where
    this has not been tried.
    """
    if not _is_plain(optimizer):
        optimizer.step()
        return
    moving = [[p for p in g["params"] if p.grad is not None] for g in optimizer.param_groups]
    everything = [parameter for parameters in moving for parameter in parameters]
    # The first step makes the state; parameters of several kinds would have to be sorted.
    has_state = all(optimizer.state.get(parameter) for parameter in everything)
    kinds = {(p.device.type, p.dtype) for p in everything}
    if not has_state or len(kinds) > 1 or any(device != "cpu" for device, _ in kinds):
        optimizer.step()
        return
    for group, parameters in zip(optimizer.param_groups, moving, strict=True):
        if parameters:
            _step_of_adam(group, parameters, [optimizer.state[p] for p in parameters])


@torch.no_grad()
def _step_of_adam(group: dict, parameters: list[Tensor], states: list[dict]) -> None:
    steps = [state["step"] for state in states]
    torch._foreach_add_(steps, 1)
    torch._fused_adam_(
        parameters,
        [parameter.grad for parameter in parameters if parameter.grad is not None],
        [state["exp_avg"] for state in states],
        [state["exp_avg_sq"] for state in states],
        [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=group["weight_decay"],
        eps=group["eps"],
        amsgrad=False,
        maximize=group["maximize"],
    )


def _is_plain(optimizer: Optimizer) -> bool:
    """Whether it is Adam, fused, with nothing that takes part in its steps or watches them."""
    if type(optimizer) is not Adam or "step" in vars(optimizer):  # as schedulers of torch put there
        return False
    watched = (
        optimizer._optimizer_step_pre_hooks
        or optimizer._optimizer_step_post_hooks
        or hooks_of_all._global_optimizer_pre_hooks
        or hooks_of_all._global_optimizer_post_hooks
        or torch.autograd._profiler_enabled()
        or hasattr(optimizer, "grad_scale")
        or hasattr(optimizer, "found_inf")
    )
    return not watched and all(map(_has_plain_settings, optimizer.param_groups))


def _has_plain_settings(group: dict) -> bool:
    others = ("amsgrad", "capturable", "differentiable", "decoupled_weight_decay")
    numbers = (group["lr"], *group["betas"])
    is_plain = group["fused"] and not any(group[name] for name in others)
    return bool(is_plain) and not any(isinstance(number, torch.Tensor) for number in numbers)
