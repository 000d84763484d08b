"""Slots that are fragments of one object are united.

Agglomerative: the two groups of highest affinity are joined, as long as it reaches a threshold.  The affinity is
``contact * (similarity of embeddings * similarity of motion) ^ (1 / number of cues)``, all in [0, 1]:

- contact: the shared border as a share of the shorter outline, over `LEAST_CONTACT`, at most 1;
- embeddings: the cosine of their area-weighted means, 0 where negative;
- motion: with E the squared error of the best parametric flow (constant, affine or quadratic in the pixel) of each
  group alone and of both together, ``1 / (1 + (E_ij - E_i - E_j) / (min(n_i, n_j) * variance))``: how far one motion
  explains both, per pixel of the smaller (Ward's criterion on motions).  The variance is that of the flow's noise plus
  what the groups' own motions leave unexplained.
"""

from __future__ import annotations

import torch
from torch import Tensor

from detectors.errors import DetectorError
from detectors.proposals import assign_pixels

LEAST_CONTACT = 0.15
"""Share of the shorter outline from which two regions touch fully."""


def merge_fragments(
    probabilities: Tensor,
    embeddings: Tensor | None = None,
    flow: Tensor | None = None,
    threshold: float = 0.7,
    order: int = 1,
    noise: float = 0.25,
    least_contact: float = LEAST_CONTACT,
    candidates: Tensor | None = None,
) -> Tensor:
    """Which slots are fragments of one object.

    Args:
        probabilities: (K, h, w) soft masks whose sum over K is at most 1.
        embeddings: (K, D) of the slots, or None where only motion counts.
        flow: (2, h, w) pixels, optical flow or motion residual at the grid of the masks, not finite where unknown; None
            where only embeddings count.
        threshold: Least affinity of two groups that are joined.
        order: Of the parametric motion: 0 constant, 1 affine, 2 quadratic.
        noise: Standard deviation of the flow in its pixels.
        least_contact: Share of the shorter outline from which two regions touch fully.
        candidates: (K,) bool, slots that may be joined (not the background); all where None.

    Returns:
        (K,) int64 group of each slot, numbered 0, 1, ... by the first slot of each.

    Raises:
        DetectorError: Neither embeddings nor flow, or shapes that do not fit.
    """
    count = len(probabilities)
    labels, best = assign_pixels(probabilities, tuple(probabilities.shape[-2:]))
    labels, best = labels.cpu().long(), best.cpu().double()
    if embeddings is None and flow is None:
        raise DetectorError("merge_fragments: expected embeddings, a flow or both")
    if embeddings is not None and embeddings.shape[:1] != (count,):
        raise DetectorError(f"merge_fragments: expected {count} embeddings, found {tuple(embeddings.shape)}")
    if flow is not None and tuple(flow.shape) != (2, *labels.shape):
        raise DetectorError(f"merge_fragments: expected a flow {(2, *labels.shape)}, found {tuple(flow.shape)}")

    area = torch.bincount(labels.flatten(), minlength=count + 1)[1:].double()
    alive = area > 0 if candidates is None else (area > 0) & candidates.cpu()
    border, outline = _borders(labels, count)
    direction = None
    if embeddings is not None:
        direction = torch.nn.functional.normalize(embeddings.detach().cpu().double(), dim=1) * area[:, None]
    motion = None if flow is None else _motion_sums(labels, best, flow.detach().cpu().double(), count, order)

    groups = torch.arange(count)
    while int(alive.sum()) > 1:
        contact = border / torch.minimum(outline[:, None], outline).clamp(min=1)
        affinity, cues = torch.ones(count, count, dtype=torch.float64), torch.zeros(count, count, dtype=torch.float64)
        if direction is not None:
            unit = torch.nn.functional.normalize(direction, dim=1)
            affinity, cues = affinity * (unit @ unit.T).clamp(0, 1), cues + 1
        if motion is not None:
            alike, known = _motion_similarity(motion, noise)
            affinity, cues = affinity * torch.where(known, alike, 1), cues + known
        # where no cue is known at all, nothing speaks for one object
        affinity = torch.where(cues > 0, affinity ** (1 / cues.clamp(min=1)), 0) * (contact / least_contact).clamp(
            max=1
        )
        affinity = torch.where(alive[:, None] & alive & ~torch.eye(count, dtype=torch.bool), affinity, -1)
        first, second = divmod(int(affinity.argmax()), count)
        if affinity[first, second] < threshold:
            break
        first, second = min(first, second), max(first, second)
        groups[groups == second] = first
        alive[second] = False
        outline[first] += outline[second] - 2 * border[first, second]
        border[first] += border[second]
        border[:, first] = border[first]
        border[first, first] = 0
        if direction is not None:
            direction[first] += direction[second]
        if motion is not None:
            for sums in motion:
                sums[first] += sums[second]
    return torch.unique(groups, return_inverse=True)[1].to(probabilities.device)


def unite(
    groups: Tensor, probabilities: Tensor, presence: Tensor, embeddings: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """One slot of every group, with gradients.

    Args:
        groups: (K,) int64, `merge_fragments`.
        probabilities: (K, h, w) soft masks.
        presence: (K,).
        embeddings: (K, D), or None.

    Returns:
        Masks (G, h, w) that are sums, presence (G,) that is the highest, and embeddings (G, D) that are means weighted
        by the masks, or None.
    """
    count = int(groups.max()) + 1 if len(groups) else 0
    member = torch.nn.functional.one_hot(groups, count).T.to(probabilities.dtype)
    masks = (member @ probabilities.flatten(1)).unflatten(1, probabilities.shape[1:])
    highest = torch.where(member > 0, presence, -torch.inf).amax(1)
    if embeddings is None:
        return masks, highest, None
    weight = member * probabilities.detach().sum((1, 2)).clamp(min=1e-6)
    return masks, highest, ((weight / weight.sum(1, keepdim=True)).to(embeddings.dtype) @ embeddings)


def _borders(labels: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Pairs of 4-neighbours that two slots share (K, K), and those that each has with anything else (K,)."""
    pairs = torch.zeros((count + 1) ** 2, dtype=torch.float64)
    for a, b in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        pairs += torch.bincount((a * (count + 1) + b).flatten(), minlength=len(pairs))
    pairs = pairs.view(count + 1, count + 1)
    pairs = (pairs + pairs.T).fill_diagonal_(0)
    return pairs[1:, 1:].clone(), pairs[1:].sum(1)


def _motion_sums(labels: Tensor, weight: Tensor, flow: Tensor, count: int, order: int) -> tuple[Tensor, ...]:
    """The sums of a least-squares fit of a parametric flow for every slot; those of a union are sums of these."""
    if order not in (0, 1, 2):
        raise DetectorError(f"merge_fragments: expected order 0, 1 or 2, found {order}")
    height, width = labels.shape
    y, x = torch.meshgrid(
        torch.linspace(-1, 1, height, dtype=torch.float64),
        torch.linspace(-1, 1, width, dtype=torch.float64),
        indexing="ij",
    )
    basis = torch.stack([x**i * y**j for i in range(order + 1) for j in range(order + 1 - i)], -1).flatten(0, 1)
    known = (flow.isfinite().all(0) & (labels > 0)).flatten()
    slot, basis = labels.flatten()[known] - 1, basis[known]
    weight, flow = weight.flatten()[known, None], flow.flatten(1).T[known]

    member = (torch.arange(count)[:, None] == slot).double()

    def sums(values: Tensor) -> Tensor:
        return (member @ values.flatten(1)).unflatten(1, values.shape[1:])

    weighted = basis * weight
    return (
        sums(weighted[:, :, None] * basis[:, None]),
        sums(weighted[:, :, None] * flow[:, None]),
        sums(weight * flow.square()).sum(1),
        sums(weight)[:, 0],
    )


def _motion_similarity(motion: tuple[Tensor, ...], noise: float) -> tuple[Tensor, Tensor]:
    """How far one motion explains two groups (K, K) in [0, 1], and where both have a known flow at all."""

    def error(normal: Tensor, right: Tensor, squares: Tensor) -> Tensor:
        ridge = 1e-9 * torch.eye(normal.shape[-1], dtype=normal.dtype)
        return (squares - (right * torch.linalg.solve(normal + ridge, right)).sum((-2, -1))).clamp(min=0)

    normal, right, squares, mass = motion
    alone = error(normal, right, squares)
    both = error(normal[:, None] + normal, right[:, None] + right, squares[:, None] + squares)
    pair = alone[:, None] + alone
    known = (mass[:, None] > 0) & (mass > 0)
    variance = noise**2 + pair / (mass[:, None] + mass).clamp(min=1e-9)
    extra = (both - pair).clamp(min=0) / torch.minimum(mass[:, None], mass).clamp(min=1e-9)
    return 1 / (1 + extra / variance.clamp(min=1e-12)), known
