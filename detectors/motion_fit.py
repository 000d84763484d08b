"""Motion-fit slots: every slot explains the flow inside its mask by one smooth parametric motion.

The flow of a rigid patch that is small against its distance is nearly a quadratic of the pixel's place (the eight
parameters of a moving plane are six here for each component, without the ties between them).  Given soft masks, the
best coefficients are a weighted least-squares fit in closed form, and what the fit leaves over tells the masks where
they are wrong.  Expectation and maximisation of a mixture of motions (Jepson and Black, 1993), with a network as the
expectation; as a training signal for slots after Choudhury et al., "Guess What Moves" (2022), from the equations.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detectors.errors import DetectorError

RIDGE = 0.01
"""Penalty on a squared first- or second-order coefficient, in pixels of mask times squared pixels of flow.

Coefficients are in pixels of flow over half the longer side.  It is the variance of the flow's noise (0.3 px) over that
of the coefficients (3 px): masks of a few pixels get a constant motion, large ones their quadratic.
"""

TINY = 1e-6
"""Penalty on the constant coefficient, so that a slot without pixels has no motion."""

SOFTNESS = 0.5
"""Pixels of flow error below which an error counts squared, above which linearly."""


def polynomial_basis(height: int, width: int, order: int, device: torch.device | None = None) -> Tensor:
    """Monomials up to ``order`` of the pixel's place: (P, height * width) float64, P being 1, 3 or 6.

    Places are from the image's centre in halves of its longer side: 1; x, y; x^2, x y, y^2.
    """
    if order not in (0, 1, 2):
        raise DetectorError(f"a motion has order 0, 1 or 2, not {order}")
    half = max(height, width) / 2
    y, x = ((torch.arange(n, device=device, dtype=torch.float64) + 0.5 - n / 2) / half for n in (height, width))
    y, x = (grid.flatten() for grid in torch.meshgrid(y, x, indexing="ij"))
    terms = [torch.ones_like(x), x, y, x * x, x * y, y * y]
    return torch.stack(terms[: (1, 3, 6)[order]])


def _known(flow: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
    """The flow with 0 where it is not finite, and the weights (B, 1, h, w) with 0 there too."""
    finite = flow.isfinite().all(1, keepdim=True)
    weights = finite.to(flow.dtype) if weights is None else torch.where(finite, weights, 0)
    return torch.where(finite, flow, 0), weights


def fit_motion(
    flow: Tensor, masks: Tensor, weights: Tensor | None = None, order: int = 2, ridge: float = RIDGE
) -> Tensor:
    """The motion of each slot that fits the flow in its mask best, as a flow over the whole map.

    Weighted least squares over the pixels p for each slot k, ``sum_p m_k(p) w(p) |c_k . basis(p) - flow(p)|^2``, with
    a ridge on all coefficients but the constant; a slot without pixels gets no motion.  Solved in double precision;
    gradients flow to the flow, the masks and the weights.

    Args:
        flow: (B, 2, h, w) pixels (or a motion residual); left out where it is not finite.
        masks: (B, K, h, w), not negative.
        weights: (B, 1, h, w), not negative, for instance the flow's confidence, or None.
        order: 2 for a quadratic, 1 for an affine, 0 for a constant motion.
        ridge: See `RIDGE`.

    Returns:
        (B, K, 2, h, w) pixels.

    Raises:
        DetectorError: The order is another one, or masks and flow are of different sizes.
    """
    if flow.shape[-2:] != masks.shape[-2:]:
        raise DetectorError(f"flow and masks differ in size: {tuple(flow.shape[-2:])} and {tuple(masks.shape[-2:])}")
    basis = polynomial_basis(*flow.shape[-2:], order, flow.device)
    flow_, weights = _known(flow, weights)
    shares = (masks * weights).flatten(2).double()
    terms = len(basis)
    products = (basis[:, None] * basis).flatten(0, 1)
    moments = (shares @ products.T).unflatten(-1, (terms, terms))
    targets = (flow_.flatten(2).double()[:, :, None] * basis).flatten(1, 2)
    sides = (shares @ targets.transpose(1, 2)).unflatten(-1, (2, terms))
    penalty = torch.full((terms,), max(ridge, TINY), dtype=torch.float64, device=flow.device)
    penalty[0] = TINY
    coefficients = torch.cholesky_solve(sides.transpose(-1, -2), torch.linalg.cholesky(moments + penalty.diag()))
    return (coefficients.transpose(-1, -2) @ basis).to(flow.dtype).unflatten(-1, flow.shape[-2:])


def motion_fit_loss(
    flow: Tensor,
    masks: Tensor,
    weights: Tensor | None = None,
    order: int = 2,
    ridge: float = RIDGE,
    softness: float = SOFTNESS,
) -> Tensor:
    """How badly the motions of the slots explain the flow: ``mean_p w(p) sum_k m_k(p) rho(|flow - flow_k|)``.

    ``rho(r) = sqrt(r^2 + softness^2) - softness`` (Charbonnier), so that a few wrong vectors do not decide.

    Args:
        flow: (B, 2, h, w) pixels; left out where it is not finite.
        masks: (B, K, h, w) that sum to 1 over the slots.
        weights: See `fit_motion`; the mean is over them.
        order: See `fit_motion`.
        ridge: See `RIDGE`.
        softness: Pixels.

    Returns:
        A scalar in pixels.
    """
    fitted = fit_motion(flow, masks, weights, order, ridge)
    flow, weights = _known(flow, weights)
    squared = (fitted - flow[:, None]).square().sum(2)
    error = (squared + softness**2).sqrt() - softness
    return ((masks * error).sum(1, keepdim=True) * weights).sum() / weights.sum().clamp(min=1e-6)
