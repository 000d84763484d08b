"""AdamW with a learning rate for each part of the model, warmed up and then falling as a cosine."""

from __future__ import annotations

import math

from torch import nn
from torch.optim import AdamW

from scenegraph_track.errors import UserError
from scenegraph_track.training.settings import TrainSettings


def make_optimiser(module: nn.Module, settings: TrainSettings, factors: dict[str, float]) -> AdamW:
    """AdamW over the weights that take part, grouped by factor of the learning rate and by weight decay.

    Args:
        module: The modules of a stage as an ``nn.ModuleDict``.
        settings: Learning rate, weight decay (not for vectors and scalars), betas.
        factors: See `Stage.learning_rate_factors`.

    Raises:
        UserError: Nothing is to be trained, or a factor fits no weight.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    unused = set(factors)
    for name, weight in module.named_parameters():
        fitting = [start for start in factors if name == start or name.startswith(f"{start}.")]
        unused.difference_update(fitting)
        if weight.requires_grad:
            factor = factors[max(fitting, key=len)] if fitting else 1.0
            groups.setdefault((factor, settings.weight_decay if weight.ndim > 1 else 0.0), []).append(weight)
    if unused:
        raise UserError(f"learning rate factors: no weight begins with {', '.join(sorted(unused))}")
    if not groups:
        raise UserError("expected weights to train, found none that require a gradient")
    listed = [{"params": some, "factor": factor, "weight_decay": decay} for (factor, decay), some in groups.items()]
    return AdamW(listed, lr=settings.learning_rate, betas=settings.betas)


def learning_rate(step: int, settings: TrainSettings) -> float:
    r"""The learning rate of update ``step`` (0-based), a function of nothing else.

    With r the top rate, w the warm-up, n the steps and f the final part: :math:`r (s + 1) / (w + 1)` while s < w, then
    :math:`r (f + (1 - f) (1 + \cos(\pi (s - w) / (n - w))) / 2)`.
    """
    top, warmup, final = settings.learning_rate, settings.warmup_steps, settings.final_learning_rate
    if step < warmup:
        return top * (step + 1) / (warmup + 1)
    fallen = (step - warmup) / max(1, settings.steps - warmup)
    return top * (final + (1 - final) * 0.5 * (1 + math.cos(math.pi * fallen)))


def set_learning_rate(optimiser: AdamW, rate: float) -> None:
    """Give every group its part of the rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]
