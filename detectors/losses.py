"""Losses that teach slots without labels; each is a scalar, smaller where the slots are more like objects."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, pad

from detectors.errors import DetectorError

CONTRAST_TEMPERATURE = 0.1
"""Of `slot_contrast` (SlotContrast)."""

SIMILARITY_TEMPERATURE = 0.15
"""Of `similarity_targets` (VideoSAUR)."""

EDGE = 0.1
"""Relative jump of the inverse depth between neighbours at which a depth edge counts 63 %."""


def feature_reconstruction(reconstruction: Tensor, target: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean squared error of reconstructed features (DINOSAUR, Seitzer et al., 2023).

    Args:
        reconstruction: (B, N, D).
        target: (B, N, D); no gradient flows to it.
        weights: (B, N), not negative, or None for all alike.

    Returns:
        A scalar.
    """
    error = (reconstruction - target.detach()).square().mean(-1)
    return error.mean() if weights is None else (error * weights).sum() / weights.sum().clamp(min=1e-6)


def slot_contrast(slots: Tensor, temperature: float = CONTRAST_TEMPERATURE) -> Tensor:
    """Each slot should be most like itself in the next frame, among the slots of all videos of the batch.

    Cross-entropy of the softmax over cosine similarities of frame t to frame t + 1 (SlotContrast, Manasyan et al.,
    2025, equation of the batch-wise slot-slot contrastive loss).

    Args:
        slots: (B, T, K, D) of T >= 2 consecutive frames.
        temperature: Divides the similarities.

    Returns:
        A scalar, the mean over slots and pairs of frames; ``log(B K)`` where slots do not differ.

    Raises:
        DetectorError: There is only one frame.
    """
    if slots.dim() != 4 or slots.shape[1] < 2:
        raise DetectorError(f"contrast needs slots (B, T, K, D) of at least two frames, found {tuple(slots.shape)}")
    unit = normalize(slots, dim=-1).transpose(0, 1).flatten(1, 2)
    logits = unit[:-1] @ unit[1:].transpose(1, 2) / temperature
    same = torch.arange(unit.shape[1], device=slots.device).expand(len(logits), -1)
    return cross_entropy(logits.flatten(0, 1), same.flatten())


def similarity_targets(
    features: Tensor, following: Tensor, temperature: float = SIMILARITY_TEMPERATURE, least: float = 0.0
) -> Tensor:
    """Where the patches of one frame may be in the next: softmax of the cosine similarities of their features.

    Args:
        features: (B, N, D) of frame t.
        following: (B, M, D) of frame t + 1.
        temperature: Divides the similarities.
        least: Similarities under this count as impossible, unless a patch has no other.

    Returns:
        (B, N, M), rows sum to 1 (VideoSAUR, Zadaianchuk et al., 2023, equation of the transition probabilities).
    """
    similarity = normalize(features, dim=-1) @ normalize(following, dim=-1).transpose(1, 2)
    possible = (similarity >= least) | (similarity == similarity.amax(-1, keepdim=True))
    return (similarity / temperature).masked_fill(~possible, -torch.inf).softmax(-1)


def temporal_similarity(
    logits: Tensor,
    features: Tensor,
    following: Tensor,
    temperature: float = SIMILARITY_TEMPERATURE,
    least: float = 0.0,
) -> Tensor:
    """Cross-entropy of the predicted transition of each patch against `similarity_targets` (VideoSAUR).

    Args:
        logits: (B, N, M) that a decoder gives for each patch of frame t over the patches of frame t + 1.
        features: (B, N, D) of frame t; no gradient flows to it.
        following: (B, M, D) of frame t + 1; no gradient flows to it.
        temperature: See `similarity_targets`.
        least: See `similarity_targets`.

    Returns:
        A scalar, the mean over patches.
    """
    targets = similarity_targets(features.detach(), following.detach(), temperature, least)
    return -(targets * logits.log_softmax(-1)).sum(-1).mean()


def mask_entropy(masks: Tensor) -> Tensor:
    """How undecided the pixels are between slots: mean entropy over that of an even split.

    Args:
        masks: (B, K, N) or (B, K, h, w) that sum to 1 over the slots.

    Returns:
        A scalar from 0 (each pixel has one slot) to 1 (all slots alike); 0 for a single slot.
    """
    entropy = -(masks * masks.clamp(min=1e-8).log()).sum(1).mean()
    return entropy / math.log(max(masks.shape[1], 2))


def _jump(inverse: Tensor) -> Tensor:
    """Relative jumps between neighbours along the last dimension that the planes on both sides do not explain.

    The inverse depth of a plane is linear in the pixel's place, so a slanted plane has the same step everywhere.  What
    counts is the change of the step towards either side, up to the step itself: the full height of an edge, sharp or
    two pixels wide, and little where two planes meet.
    """
    step = inverse.diff(dim=-1)
    change = step.diff(dim=-1).abs()
    unexplained = torch.maximum(pad(change, (1, 0)), pad(change, (0, 1)))
    return torch.minimum(unexplained, step.abs()) / torch.maximum(inverse[..., 1:], inverse[..., :-1])


def depth_edge_alignment(
    masks: Tensor, depth: Tensor, weights: Tensor | None = None, edge: float = EDGE, missed: float = 0.5
) -> Tensor:
    """Masks should change where the depth jumps, and not elsewhere.

    For neighbouring pixels, ``c = 1 - sum_k m_k m'_k`` is the chance that they are of different slots and
    ``e = 1 - exp(-jump / edge)`` how much of a depth edge lies between them; the loss is the mean of
    ``c (1 - e) + missed * (1 - c) e``.

    Args:
        masks: (B, K, h, w) that sum to 1 over the slots; h and w at least 3.
        depth: (B, 1, h, w), positive; left out where it is not finite; no gradient flows to it.
        weights: (B, 1, h, w) in [0, 1], the depth's confidence, or None.
        edge: See `EDGE`.
        missed: Weight of depth edges within a slot against changes of slot without a depth edge.

    Returns:
        A scalar in [0, 1] for ``missed`` up to 1.
    """
    known = depth.isfinite() & (depth > 0)
    inverse = torch.where(known, depth, 1).detach().reciprocal()
    trust = known.to(masks.dtype) if weights is None else torch.where(known, weights, 0)
    total, count = masks.new_zeros(()), masks.new_zeros(())
    for turn in (False, True):
        m, d, w = ((x.transpose(-1, -2) if turn else x) for x in (masks, inverse, trust))
        change = 1 - (m[..., 1:] * m[..., :-1]).sum(1, keepdim=True)
        there = 1 - torch.exp(-_jump(d) / edge)
        pair = w[..., 1:] * w[..., :-1]
        total = total + (pair * (change * (1 - there) + missed * (1 - change) * there)).sum()
        count = count + pair.sum()
    return total / count.clamp(min=1e-6)
