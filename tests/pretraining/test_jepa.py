"""The loss of a student against numbers worked out by hand, its gradients, and what tells of collapse."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenegraph_track.errors import UserError
from scenegraph_track.pretraining.jepa import (
    Expander,
    JepaLoss,
    JepaObjective,
    correlation,
    effective_rank,
    follow_weights,
    off_diagonal,
    variance_hinge,
)
from scenegraph_track.target.predictor import FilterRefiner, Filters, ResidualMap

DIMS = {"classification": 6, "box": 6}


def drawn(count: int = 9, seed: int = 0, dtype: torch.dtype = torch.float64) -> list[dict[str, torch.Tensor]]:
    """Raw and predicted weights of a student and those of its teacher."""
    torch.manual_seed(seed)
    return [{name: torch.randn(count, dim, dtype=dtype) for name, dim in DIMS.items()} for _ in range(3)]


def objective(**settings) -> JepaObjective:
    torch.manual_seed(0)
    return JepaObjective(DIMS, JepaLoss(expander=8, **settings).settled(settings.pop("follows", False))).double()


def test_covariance_counts_each_pair_of_dimensions_twice() -> None:
    values = torch.tensor([[1.0, 1.0, 0.0], [-1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, -1.0, 0.0]])
    assert off_diagonal(values) == pytest.approx(2 * (4 / 3) ** 2 / 3)
    assert off_diagonal(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])) == 0
    assert off_diagonal(values + 7) == pytest.approx(float(off_diagonal(values)))  # a mean counts for nothing


def test_the_hinge_minds_small_deviations_only() -> None:
    torch.manual_seed(0)
    wide = torch.randn(50, 4)
    assert variance_hinge(5 * wide) == 0
    assert variance_hinge(torch.zeros(50, 4)) == pytest.approx(1, abs=2e-3)
    assert 0.4 < variance_hinge(0.5 * wide) < 0.6


@torch.no_grad()
def test_the_loss_is_the_weighted_sum_of_its_parts_in_the_teachers_units() -> None:
    raw, predicted, targets = drawn()
    made = objective(similarity=25.0, covariance=2.0)
    total, parts = made(raw, predicted, targets)
    wanted = []
    for name in DIMS:
        unit = targets[name].var(0).mean().sqrt()
        away = (predicted[name] - targets[name]) / unit
        wanted.append(torch.where(away.abs() < 1, away**2 / 2, away.abs() - 0.5).mean())
    assert parts["similarity"] == pytest.approx(float(sum(wanted) / 2))
    wide = [made.expanders[name](raw[name] / targets[name].var(0).mean().sqrt()) for name in DIMS]
    assert parts["covariance"] == pytest.approx(float(sum(map(off_diagonal, wide)) / 2))
    assert total == pytest.approx(float(25 * parts["similarity"] + 2 * parts["covariance"]))


@torch.no_grad()
def test_scale_does_not_matter() -> None:
    """Weights of a thousandth of the size have the same loss."""
    some = drawn()
    small = [{name: value / 1000 for name, value in weights.items()} for weights in some]
    made = objective()
    assert made(*small)[0] == pytest.approx(float(made(*some)[0]))


@torch.no_grad()
def test_squared_error_has_no_other_part() -> None:
    raw, predicted, targets = drawn()
    made = objective(kind="l2", similarity=1.0, normalised="deviation")
    total, parts = made(raw, predicted, targets)
    away = [(predicted[name] - targets[name]) / targets[name].var(0).mean().sqrt() for name in DIMS]
    assert total == pytest.approx(float(sum(one.square().mean() for one in away) / 2))
    assert parts["covariance"] == parts["variance"] == 0 and not list(made.parameters())


@torch.no_grad()
def test_a_teacher_that_follows_brings_layer_norm_and_the_hinge() -> None:
    settled = JepaLoss().settled(True)
    assert settled.normalised == "layer" and settled.variance == 25.0
    assert JepaLoss().settled(False).normalised == "deviation" and JepaLoss().settled(False).variance == 0
    assert JepaLoss(variance=3.0, normalised="layer").settled(False).variance == 3.0
    raw, predicted, targets = drawn()
    made = JepaObjective(DIMS, settled).double()
    shifted = {name: 5 * value + 3 for name, value in targets.items()}
    assert made(raw, predicted, shifted)[1]["similarity"] == pytest.approx(
        float(made(raw, predicted, targets)[1]["similarity"]), abs=1e-4
    )
    same = {name: value[:1].expand(9, -1) for name, value in raw.items()}
    assert made(same, predicted, targets)[1]["variance"] > 0.99  # a collapsed student is seen


@pytest.mark.parametrize("kind", ["smooth_l1_cov", "l2"])
@pytest.mark.parametrize("follows", [False, True])
def test_gradients_of_the_loss_are_those_of_finite_differences(kind: str, follows: bool) -> None:
    raw, predicted, targets = drawn(5)
    made = JepaObjective(DIMS, JepaLoss(kind=kind, expander=4).settled(follows)).double()
    names = list(DIMS)

    def loss(*values: torch.Tensor) -> torch.Tensor:
        return made(dict(zip(names, values[:2])), dict(zip(names, values[2:])), targets)[0]

    inputs = [weights[name].clone().requires_grad_() for weights in (raw, predicted) for name in names]
    assert torch.autograd.gradcheck(loss, inputs)


def test_no_gradient_reaches_the_teacher() -> None:
    raw, predicted, targets = drawn()
    for weights in (raw, predicted, targets):
        for value in weights.values():
            value.requires_grad_()
    objective(variance=1.0)(raw, predicted, targets)[0].backward()
    assert all(value.grad is None for value in targets.values())
    assert all(value.grad.abs().sum() > 0 for weights in (raw, predicted) for value in weights.values())


def test_one_target_alone_is_refused() -> None:
    with pytest.raises(UserError, match="expected at least 2 targets"):
        objective()(*drawn(1))


@torch.no_grad()
def test_the_expander_is_linear_and_without_bias() -> None:
    made, x = Expander(6, 8), torch.randn(2, 3, 6)
    assert torch.allclose(made(2 * x[0] - x[1]), 2 * made(x[0]) - made(x[1]), atol=1e-5)
    assert torch.equal(made(torch.zeros(1, 6)), torch.zeros(1, 8))


@torch.no_grad()
def test_predictors_begin_as_nothing_and_are_two_maps() -> None:
    torch.manual_seed(0)
    made, x = ResidualMap(6), torch.randn(4, 6)
    assert torch.equal(made(x), x)
    nn.init.normal_(made.second.weight)
    nn.init.normal_(made.first.weight)
    nn.init.normal_(made.first.bias)
    y = x @ made.first.weight.T + made.first.bias
    assert torch.allclose(made(x), y + y @ made.second.weight.T, atol=1e-5)
    features = torch.zeros(4, 6, 2, 2)
    found = FilterRefiner(6)(Filters(x, 2 * x, features))
    assert torch.equal(found.box, 2 * x) and found.features is features


def test_correlation_ignores_what_all_rows_share() -> None:
    torch.manual_seed(0)
    one, other = torch.randn(40, 5), torch.randn(40, 5)
    common = 50 * torch.randn(5)
    assert correlation(one + common, 3 * one - common) == pytest.approx(1, abs=1e-5)
    assert abs(correlation(one + common, other + common)) < 0.25
    assert correlation(one, -one) == pytest.approx(-1, abs=1e-5)
    assert correlation(common.expand(40, 5), one) == pytest.approx(0, abs=1e-3)


def test_effective_rank_counts_directions() -> None:
    torch.manual_seed(0)
    line = torch.randn(30, 1) * torch.randn(6)
    assert effective_rank(line + 4) == pytest.approx(1, abs=1e-3)
    basis = torch.eye(6)[:3]
    assert effective_rank(torch.cat([basis, -basis])) == pytest.approx(3, abs=1e-3)
    assert 5 < effective_rank(torch.randn(300, 6)) <= 6
    assert effective_rank(torch.ones(5, 6)).isfinite()


def test_a_teacher_follows_by_its_decay() -> None:
    teacher, student = nn.Linear(2, 2), nn.Linear(2, 2)
    before, own = teacher.weight.clone(), student.weight.clone()
    follow_weights(teacher.parameters(), student.parameters(), 0.75)
    assert torch.allclose(teacher.weight, 0.75 * before + 0.25 * own)
    follow_weights(teacher.parameters(), student.parameters(), 0.0)
    assert torch.equal(teacher.weight, own) and torch.equal(student.weight, own)
