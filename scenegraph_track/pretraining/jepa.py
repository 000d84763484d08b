r"""Joint-embedding prediction of target models (GOT-JEPA): a student that sees less predicts what its teacher sees.

Teacher and student map a history and a frame to the weights of a model of each of N targets (`WeightPredictor`).  The
teacher sees them clean, the student corrupted.  Each kind of weights has a predictor :math:`P` (`ResidualMap`) and an
`Expander` :math:`E`; the loss is that of `JepaObjective`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, smooth_l1_loss

from scenegraph_track.errors import UserError

History = TypeVar("History", contravariant=True)
Frame = TypeVar("Frame", contravariant=True)

Weights = dict[str, Tensor]
"""Weights (N, D) of the models of N targets by the names of their heads."""


class WeightPredictor(Protocol[History, Frame]):
    """Anything that predicts the weights of targets' models from their history and a frame."""

    def weights(self, history: History, frame: Frame) -> Weights:
        """The weights of N targets by the names of their heads."""
        ...


class JepaLoss(BaseModel):
    """What counts as an error; GOT-JEPA has 1e4 and 400 for weights of its own scale, here they are brought to 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["smooth_l1_cov", "l2"] = Field("smooth_l1_cov", description="l2: squared error, nothing else")
    similarity: float = Field(25.0, gt=0, description="weight of the distance to the teacher")
    covariance: float = Field(1.0, ge=0, description="weight of the squared covariances of different dimensions")
    variance: float | None = Field(
        None, ge=0, description="weight of deviations below 1; null: 25 if the teacher follows the student, else 0"
    )
    expander: int = Field(256, ge=2, description="dimensions in which covariances and deviations are measured")
    normalised: Literal["deviation", "layer"] | None = Field(
        None, description="what weights are divided by; null: layer if the teacher follows the student, else deviation"
    )

    def settled(self, follows: bool) -> JepaLoss:
        """The same with its two rules applied.

        Args:
            follows: Whether the teacher follows the student.
        """
        variance = self.variance if self.variance is not None else (25.0 if follows else 0.0)
        normalised = self.normalised or ("layer" if follows else "deviation")
        return self.model_copy(update={"variance": variance, "normalised": normalised})


class Expander(nn.Module):
    """Two linear maps without bias, and nothing between them, as in the authors' code.

    Args:
        dim: Of the weights.
        width: Of what they are expanded to.
    """

    def __init__(self, dim: int, width: int) -> None:
        super().__init__()
        self.maps = nn.Sequential(nn.Linear(dim, width, bias=False), nn.Linear(width, width, bias=False))

    def forward(self, weights: Tensor) -> Tensor:
        """(N, width) of weights (N, dim)."""
        return self.maps(weights)


class JepaObjective(nn.Module):
    r"""The loss of a student.

    With weights :math:`w` of the student and :math:`t` of the teacher, both in units of the teacher's deviation:
    ``similarity`` :math:`\mathrm{SmoothL1}(P(w), t)` + ``covariance`` :math:`\frac1E \sum_{i \ne j} C_{ij}^2` +
    ``variance`` :math:`\frac1E \sum_i \max(0, 1 - \sqrt{C_{ii}})`, :math:`C` the covariance of :math:`E(w)` over the
    batch; or ``similarity`` :math:`\mathrm{mean} (P(w) - t)^2`.  The sum over heads is divided by their number.

    Without the part of the variance, as published, the expander can make the covariance small by becoming small itself,
    and does: what keeps weights apart then is the teacher.

    Args:
        dims: D of each head.
        settings: See `JepaLoss`, settled.
    """

    def __init__(self, dims: Mapping[str, int], settings: JepaLoss) -> None:
        super().__init__()
        self.settings = settings
        wide = settings.kind != "l2"
        self.expanders = nn.ModuleDict(
            {name: Expander(dim, settings.expander) for name, dim in dims.items()} if wide else {}
        )

    def forward(self, raw: Weights, predicted: Weights, targets: Weights) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts before they are weighted.

        Args:
            raw: Weights (N, D) of the student.
            predicted: The same behind its predictors.
            targets: Of the teacher; no gradient reaches them.

        Raises:
            UserError: There are fewer than two targets.
        """
        s, parts = self.settings, {"similarity": [], "covariance": [], "variance": []}
        if min(map(len, targets.values())) < 2:
            raise UserError("jepa: expected at least 2 targets in a batch, whose covariance can be measured")
        for name, target in targets.items():
            wanted, found, own = self._normalised(target.detach(), predicted[name], raw[name])
            distance = (found - wanted).square().mean() if s.kind == "l2" else smooth_l1_loss(found, wanted)
            parts["similarity"].append(distance)
            if name in self.expanders:
                wide = self.expanders[name](own)
                parts["covariance"].append(off_diagonal(wide))
                parts["variance"].append(variance_hinge(wide))
        means = {name: torch.stack(some).mean() if some else wanted.new_zeros(()) for name, some in parts.items()}
        return sum(getattr(s, name) * part for name, part in means.items()), means

    def _normalised(self, target: Tensor, *weights: Tensor) -> list[Tensor]:
        """Weights in units of the teacher's deviation over the batch, or rows of mean 0 and deviation 1."""
        if self.settings.normalised == "layer":
            return [layer_norm(one, one.shape[-1:]) for one in (target, *weights)]
        deviation = target.var(0).mean().sqrt().clamp(min=1e-8)
        return [one / deviation for one in (target, *weights)]


def covariance(values: Tensor) -> Tensor:
    """(E, E) of rows (N, E)."""
    centred = values - values.mean(0)
    return centred.T @ centred / (len(values) - 1)


def off_diagonal(values: Tensor) -> Tensor:
    """Squared covariances () of different columns of values (N, E), their sum over E (VICReg)."""
    found = covariance(values)
    return (found.square().sum() - found.diagonal().square().sum()) / len(found)


def variance_hinge(values: Tensor) -> Tensor:
    """By how much () the deviations of the columns of values (N, E) are below 1, mean (VICReg)."""
    return (1 - (values.var(0) + 1e-6).sqrt()).relu().mean()


def correlation(one: Tensor, other: Tensor) -> Tensor:
    """Pearson's correlation () of the entries of (N, D) and (N, D), each column less its mean.

    What all rows have in common counts for nothing.
    """
    a, b = one - one.mean(0), other - other.mean(0)
    return (a * b).sum() / (a.square().sum() * b.square().sum()).sqrt().clamp(min=1e-12)


def effective_rank(weights: Tensor) -> Tensor:
    """Exponential of the entropy of the singular values () of weights (N, D) less their mean (Roy and Vetterli, 2007).

    1 where all rows lie on a line, min(N - 1, D) where they fill all directions evenly.
    """
    values = torch.linalg.svdvals(weights.detach().float() - weights.detach().float().mean(0))
    part = values / values.sum().clamp(min=1e-12)
    return (-(part * part.clamp(min=1e-12).log()).sum()).exp()


@torch.no_grad()
def follow_weights(teacher: Iterable[Tensor], student: Iterable[Tensor], decay: float) -> None:
    """``t <- decay t + (1 - decay) s`` of the parameters of two modules, in place."""
    for own, other in zip(teacher, student, strict=True):
        own.lerp_(other.to(own), 1 - decay)
