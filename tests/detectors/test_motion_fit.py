"""Parametric motions of masks."""

from __future__ import annotations

import pytest
import torch

from detectors.errors import DetectorError
from detectors.motion_fit import fit_motion, motion_fit_loss, polynomial_basis


def halves(height: int = 12, width: int = 16) -> torch.Tensor:
    """Masks (1, 2, h, w) of the left and the right half."""
    right = (torch.arange(width) >= width // 2).float().expand(height, -1)
    return torch.stack([1 - right, right])[None]


def polynomial_flow(order: int, seed: int, height: int = 12, width: int = 16) -> torch.Tensor:
    """A flow (1, 2, h, w) that a motion of this order explains exactly."""
    basis = polynomial_basis(height, width, order).float()
    coefficients = torch.randn(2, len(basis), generator=torch.Generator().manual_seed(seed))
    return (coefficients @ basis).view(1, 2, height, width)


def test_basis_of_a_wide_map() -> None:
    # Halves of the longer side, from the centre, so that both axes have one scale.
    basis = polynomial_basis(1, 2, 2)
    torch.testing.assert_close(basis[:3], torch.tensor([[1, 1], [-0.5, 0.5], [0, 0]]).double())
    torch.testing.assert_close(basis[3:], torch.tensor([[0.25, 0.25], [0, 0], [0, 0]]).double())
    assert [len(polynomial_basis(3, 3, order)) for order in (0, 1, 2)] == [1, 3, 6]


@pytest.mark.parametrize("order", [0, 1, 2])
def test_two_motions_are_recovered(order: int) -> None:
    masks = halves()
    left, right = polynomial_flow(order, 0), polynomial_flow(order, 1)
    flow = left * masks[:, :1] + right * masks[:, 1:]
    fitted = fit_motion(flow, masks, order=order, ridge=1e-9)
    assert fitted.shape == (1, 2, 2, 12, 16)
    torch.testing.assert_close(fitted[:, 0], left, atol=1e-4, rtol=0)  # over the whole map, not in the mask alone
    torch.testing.assert_close(fitted[:, 1], right, atol=1e-4, rtol=0)


def test_order_decides_what_is_explained() -> None:
    flow, whole = polynomial_flow(2, 0), torch.ones(1, 1, 12, 16)
    losses = [float(motion_fit_loss(flow, whole, order=order)) for order in (0, 1, 2)]
    assert losses[0] > 2 * losses[1] > 4 * losses[2] and losses[2] < 1e-3


def test_constant_motion_is_the_weighted_mean() -> None:
    generator = torch.Generator().manual_seed(0)
    flow, masks = torch.randn(2, 2, 4, 5, generator=generator), torch.rand(2, 3, 4, 5, generator=generator)
    weights = torch.rand(2, 1, 4, 5, generator=generator)
    shares = masks * weights
    mean = torch.einsum("bkhw,bchw->bkc", shares, flow) / shares.sum((2, 3))[..., None]
    fitted = fit_motion(flow, masks, weights, order=0)
    torch.testing.assert_close(fitted, mean[..., None, None].expand_as(fitted), atol=1e-5, rtol=1e-5)


def test_ridge_keeps_small_masks_simple() -> None:
    """Noise on a few pixels does not turn into a wild motion elsewhere; a large mask keeps its quadratic."""
    generator = torch.Generator().manual_seed(0)
    flow = 1 + 0.3 * torch.randn(1, 2, 32, 32, generator=generator)
    few = torch.zeros(1, 1, 32, 32)
    few[..., 10:13, 20:23] = 1
    wild = fit_motion(flow, few, ridge=0).sub(1).abs().max()
    assert fit_motion(flow, few).sub(1).abs().max() < 4 < 0.1 * wild
    smooth = polynomial_flow(2, 0, 32, 32)
    assert (fit_motion(smooth, torch.ones(1, 1, 32, 32))[:, 0] - smooth).abs().max() < 0.01


def test_empty_slots_stand_still() -> None:
    masks = torch.stack([torch.ones(6, 6), torch.zeros(6, 6)])[None]
    fitted = fit_motion(torch.full((1, 2, 6, 6), 3.0), masks)
    assert fitted[:, 1].abs().max() == 0
    torch.testing.assert_close(fitted[:, 0], torch.full((1, 2, 6, 6), 3.0), atol=1e-4, rtol=0)


def test_unknown_flow_is_left_out() -> None:
    # NaN and weight 0 give the same, finite in values and gradients.
    flow, masks = polynomial_flow(1, 0), halves().requires_grad_()
    broken, weights = flow.clone(), torch.ones(1, 1, 12, 16)
    broken[..., :3, :5], weights[..., :3, :5] = torch.nan, 0
    loss = motion_fit_loss(broken, masks)
    torch.testing.assert_close(loss, motion_fit_loss(flow, masks, weights))
    loss.backward()
    assert masks.grad is not None and masks.grad.isfinite().all()
    assert motion_fit_loss(torch.full_like(flow, torch.nan), masks) == 0


def test_right_masks_cost_least() -> None:
    """Two moving halves: the true masks, then undecided ones, then halves cut the wrong way."""
    masks = halves(12, 12)
    flow = polynomial_flow(2, 0, 12, 12) * masks[:, :1] + (polynomial_flow(2, 1, 12, 12) + 4) * masks[:, 1:]
    right, even, wrong = (
        float(motion_fit_loss(flow, m)) for m in (masks, torch.full_like(masks, 0.5), masks.transpose(-1, -2))
    )
    assert right < 0.01 < 0.5 < min(even, wrong)


def test_masks_find_the_parts_by_descent() -> None:
    """From a weak hint, descent of the loss alone divides the map into the two motions."""
    masks = halves(8, 8)
    flow = (
        torch.tensor([2.0, 0.0]).view(1, 2, 1, 1) * masks[:, :1]
        + torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1) * masks[:, 1:]
    )
    logits = (0.1 * masks + 0.1 * torch.randn(masks.shape, generator=torch.Generator().manual_seed(0))).requires_grad_()
    optimiser = torch.optim.Adam([logits], 0.1)
    for _ in range(40):
        loss = motion_fit_loss(flow, logits.softmax(1), order=0)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert torch.equal(logits.argmax(1), masks.argmax(1))


def test_one_wrong_vector_counts_linearly() -> None:
    whole, flow = torch.ones(1, 1, 20, 20), torch.zeros(1, 2, 20, 20)
    losses = []
    for size in (20.0, 40.0):
        flow[0, 0, 10, 10] = size
        losses.append(float(motion_fit_loss(flow, whole, order=0)))
    assert losses[1] < 2.2 * losses[0]


def test_gradients() -> None:
    generator = torch.Generator().manual_seed(0)
    flow = torch.randn(1, 2, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    masks = torch.rand(1, 2, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    weights = torch.rand(1, 1, 3, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    for order in (1, 2):
        assert torch.autograd.gradcheck(lambda f, m, w, o=order: fit_motion(f, m, w, o), (flow, masks, weights))
    assert torch.autograd.gradcheck(lambda f, m, w: motion_fit_loss(f, m, w), (flow, masks, weights))


def test_mistakes_are_said_in_a_sentence() -> None:
    with pytest.raises(DetectorError, match="order 0, 1 or 2"):
        fit_motion(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 4, 4), order=3)
    with pytest.raises(DetectorError, match="differ in size"):
        fit_motion(torch.zeros(1, 2, 4, 4), torch.ones(1, 1, 8, 8))
