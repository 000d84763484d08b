"""The one training loop: every stage is trained by it, on any number of devices, and goes on exactly where it was."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.training.checkpoints import Checkpoints, Progress, load_state
from scenegraph_track.training.ema import Ema
from scenegraph_track.training.interrupts import stop_signals
from scenegraph_track.training.monitor import Means, Monitor, describe
from scenegraph_track.training.optimiser import learning_rate, make_optimiser, set_learning_rate
from scenegraph_track.training.settings import Recipe
from scenegraph_track.training.stage import Stage


class TrainingFailed(UserError):
    """The run stopped by itself: the loss is no number, or the stage says that it has collapsed."""


def train(fabric: Fabric, recipe: Recipe, stage: Stage, out: Path) -> Progress:
    """Train a stage from the newest checkpoint in a folder, or from the start.

    Step s averages the gradients of the batches s a, ..., s a + a - 1 (a: ``accumulate``).  The learning rate, the
    batches and torch's random numbers are functions of seed and step, so that a state needs weights, their average,
    the optimiser's moments, the scale of half precision and what `Stage.state` remembers only.

    Args:
        fabric: Launched.
        recipe: Of the run.
        stage: Fresh.
        out: Folder of the run.

    Raises:
        TrainingFailed: The loss or its gradient is not finite, `Stage.collapse` has seen a collapse, or a process that
            prepares batches has died.
    """
    settings = recipe.train
    whole = _Whole(stage)
    optimiser = make_optimiser(whole.parts, settings, stage.learning_rate_factors())
    module, stepper = fabric.setup(whole, optimiser)
    stage.device = fabric.device
    ema = Ema(whole.parts, settings.ema_decay) if settings.ema_decay else None
    checkpoints = Checkpoints(out, recipe)
    progress = Progress()
    if newest := fabric.broadcast(checkpoints.newest()):
        progress, state = load_state(newest)
        _restore(state, whole.parts, optimiser, ema, fabric)
        stage.load_state(state.get("stage", {}))
    batches = stage.batches(fabric.global_rank, fabric.world_size, progress.step * settings.accumulate)
    means, figures = Means(), {}

    def save(best: bool) -> None:
        if fabric.is_global_zero:
            weights = ema.average if ema else whole.parts.state_dict()
            if best:
                checkpoints.save_best(progress, weights)
            else:
                state = _state(whole.parts, optimiser, ema, fabric) | {"stage": stage.state()}
                checkpoints.save(progress, state, weights)

    with (
        Monitor(out, recipe.stage, settings.steps, progress.step, fabric.is_global_zero) as monitor,
        stop_signals() as stop,
        _told_of_workers(recipe.stage),
    ):
        while progress.step < settings.steps and not progress.interrupted:
            step = progress.step
            rate = learning_rate(step, settings)
            set_learning_rate(optimiser, rate)
            loss = torch.zeros((), device=fabric.device)
            for k in range(settings.accumulate):
                number = step * settings.accumulate + k
                batch = _Opaque(fabric.to_device(_next(batches, recipe.stage, number)))
                _seed(fabric.device, settings.seed, 0, number, fabric.global_rank)
                with fabric.no_backward_sync(module, enabled=k + 1 < settings.accumulate):
                    part, metrics = module(batch, step)
                    fabric.backward(part / settings.accumulate)
                loss += part.detach() / settings.accumulate
                means.add({"loss": part, **metrics})
            norm = fabric.clip_gradients(
                module, stepper, max_norm=settings.clip_norm or math.inf, error_if_nonfinite=False
            )
            signs = torch.stack([loss, norm.to(loss), loss.new_tensor(float(stop.wished))])
            mean_loss, mean_norm, stops = fabric.all_reduce(signs, reduce_op="mean").tolist()
            _refuse_not_finite(mean_loss, mean_norm, step, settings.precision, figures, checkpoints)
            stepper.step()
            stepper.zero_grad()
            if ema:
                ema.update(whole.parts, step)
            progress.step += 1
            monitor.advance(progress.step)

            last = progress.step == settings.steps
            if last or progress.step % settings.log_every == 0:
                figures = means.take(fabric) | {"gradient_norm": mean_norm, "learning_rate": rate}
                monitor.log(progress.step, figures)
                _refuse_collapse(stage, figures, progress.step, checkpoints)
            if last or progress.step % settings.validate_every == 0:
                found = _validate(fabric, stage, whole, ema, settings.seed)
                held_out = {f"val/{name}": value for name, value in found.items()}
                if held_out:
                    monitor.validation(progress.step, held_out)
                _refuse_collapse(stage, held_out, progress.step, checkpoints)
                progress.held_out = {"step": progress.step, **found}
                if settings.monitor and _is_better(progress, settings.monitor, settings.monitor_mode):
                    save(best=True)
            progress.interrupted = stops > 0 and not last
            if last or progress.interrupted or progress.step % settings.checkpoint_every == 0:
                save(best=False)
                if not settings.monitor:
                    save(best=True)
    fabric.barrier()
    return progress


class _Opaque:
    """Carries a batch past Fabric, which would round its numbers to half precision (depth, poses, times)."""

    def __init__(self, batch: Any) -> None:
        self.batch = batch


class _Whole(nn.Module):
    """The modules of a stage behind one ``forward``, its loss: what data-parallel training and autocast wrap."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(stage.modules())
        self._stage = stage

    def forward(self, batch: _Opaque, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        loss, metrics = self._stage.loss(batch.batch, step)
        return loss, {name: torch.as_tensor(value).detach() for name, value in metrics.items()}


def _seed(device: torch.device, *numbers: int) -> None:
    """Set torch's generators; on the CPU only that one, because the others cost a short step's time."""
    seed = int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
    (torch.default_generator if device.type == "cpu" else torch).manual_seed(seed)


def _next(batches: Iterator[Any], name: str, number: int) -> Any:
    try:
        return next(batches)
    except StopIteration:
        raise UserError(f"{name}: expected endless batches, found none behind number {number - 1}") from None


@contextmanager
def _told_of_workers(name: str) -> Iterator[None]:
    """The death of a data worker, which torch raises wherever the run is just then, as a sentence."""
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise TrainingFailed(f"{name}: a process that prepares batches has died ({error}); --resume goes on") from None


def _validate(fabric: Fabric, stage: Stage, whole: _Whole, ema: Ema | None, seed: int) -> dict[str, float]:
    """Metrics of the weights that are saved, computed by the first process and told to all."""
    found: dict[str, float] = {}
    if fabric.is_global_zero:
        modes = {part: part.training for part in whole.modules()}
        whole.eval()
        _seed(fabric.device, seed, 1)
        with torch.no_grad(), fabric.autocast(), ema.applied(whole.parts) if ema else nullcontext():
            found = {name: float(value) for name, value in stage.validate().items()}
        for part, mode in modes.items():
            part.training = mode
    return fabric.broadcast(found)


def _is_better(progress: Progress, name: str, mode: str) -> bool:
    if name not in progress.held_out:
        known = ", ".join(key for key in progress.held_out if key != "step") or "(nothing)"
        raise UserError(f"train.monitor: expected one of the validation's metrics, {known}, found {name!r}")
    value = progress.held_out[name]
    if progress.best is not None and not (value < progress.best if mode == "min" else value > progress.best):
        return False
    progress.best = value
    return True


def _refuse_not_finite(
    loss: float, norm: float, step: int, precision: str, figures: dict[str, float], checkpoints: Checkpoints
) -> None:
    """A loss, or a gradient other than that of scaled half precision, that is no number ends the run."""
    if math.isfinite(loss) and (math.isfinite(norm) or precision == "16-mixed"):
        return
    what = f"the loss is {loss}" if not math.isfinite(loss) else f"the norm of the gradient is {norm}"
    before = f" (before: {describe(figures)})" if figures else ""
    raise TrainingFailed(f"step {step + 1}: {what}{before}; {_what_is_left(checkpoints)}")


def _refuse_collapse(stage: Stage, metrics: dict[str, float], step: int, checkpoints: Checkpoints) -> None:
    if metrics and (message := stage.collapse(metrics)):
        raise TrainingFailed(f"step {step}: collapse: {message} ({describe(metrics)}); {_what_is_left(checkpoints)}")


def _what_is_left(checkpoints: Checkpoints) -> str:
    newest = checkpoints.newest()
    return f"the last good checkpoint is {newest}" if newest else "no checkpoint was written before"


def _state(parts: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None, fabric: Fabric) -> dict[str, Any]:
    return {
        "modules": parts.state_dict(),
        "optimiser": optimiser.state_dict(),
        "ema": ema.average if ema else {},
        "precision": fabric.strategy.precision.state_dict(),
    }


def _restore(
    state: dict[str, Any], parts: nn.Module, optimiser: torch.optim.Optimizer, ema: Ema | None, fabric: Fabric
) -> None:
    parts.load_state_dict(state["modules"])
    optimiser.load_state_dict(state["optimiser"])
    if ema:
        ema.load(state["ema"])
    fabric.strategy.precision.load_state_dict(state["precision"])
