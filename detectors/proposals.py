"""What a detector says about one frame: boxes, scores, masks, embeddings and depths, also from soft masks or labels.

Boxes are in the continuous pixels of `detectors.masks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detectors.errors import DetectorError
from detectors.masks import assign_pixels, cut_out, median_depth

LEAST_AREA = 16
"""Pixels of the image under which a mask counts as noise."""


@dataclass(frozen=True, eq=False)
class Proposals:
    """N objects that a detector found in one frame.

    Args:
        boxes: (N, 4) float32 xyxy pixels of the image.
        scores: (N,) float32 in [0, 1]; higher is surer.
        masks: (N, H, W) bool at the image's resolution.
        embeddings: (N, D) float appearance vectors.
        depths: (N,) float, NaN where unknown.
        classes: (N,) int64 class labels.

    Raises:
        DetectorError: A field has another shape or kind, a box is inverted, or a number is out of its range.
    """

    boxes: Tensor
    scores: Tensor
    masks: Tensor | None = None
    embeddings: Tensor | None = None
    depths: Tensor | None = None
    classes: Tensor | None = None

    def __post_init__(self) -> None:
        self._check("boxes", (None, 4), (torch.float32,))
        n = len(self.boxes)
        self._check("scores", (n,), (torch.float32,))
        self._check("masks", (n, None, None), (torch.bool,))
        self._check("embeddings", (n, None), (torch.float32, torch.float64, torch.float16, torch.bfloat16))
        self._check("depths", (n,), (torch.float32, torch.float64))
        self._check("classes", (n,), (torch.int64,))
        if not bool(self.boxes.isfinite().all() & (self.boxes[:, 2:] >= self.boxes[:, :2]).all()):
            raise DetectorError("Proposals.boxes: expected finite numbers with x1 <= x2 and y1 <= y2")
        if not bool(((self.scores >= 0) & (self.scores <= 1)).all()):
            raise DetectorError("Proposals.scores: expected numbers in [0, 1]")
        if self.embeddings is not None and not bool(self.embeddings.isfinite().all()):
            raise DetectorError("Proposals.embeddings: expected finite numbers")
        if self.depths is not None and bool((self.depths <= 0).any() | self.depths.isinf().any()):
            raise DetectorError("Proposals.depths: expected positive numbers, NaN where unknown")

    def _check(self, name: str, shape: tuple[int | None, ...], kinds: tuple[torch.dtype, ...]) -> None:
        value = getattr(self, name)
        if value is None and name not in ("boxes", "scores"):
            return
        wanted = "(" + ", ".join("?" if side is None else str(side) for side in shape) + ")"
        if not isinstance(value, Tensor):
            raise DetectorError(f"Proposals.{name}: expected a tensor {wanted}, found {type(value).__name__}")
        fits = value.ndim == len(shape) and all(s is None or s == v for s, v in zip(shape, value.shape, strict=True))
        if not fits or value.dtype not in kinds:
            kind = str(kinds[0]).removeprefix("torch.")
            found = f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
            raise DetectorError(f"Proposals.{name}: expected {wanted} {kind}, found {found}")

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Proposals:
        """Rows chosen by a number, a slice, an integer tensor or a boolean mask."""
        rows = [index] if isinstance(index, int) else index
        return Proposals(**{k: None if v is None else v[rows] for k, v in vars(self).items()})

    @classmethod
    def empty(cls) -> Proposals:
        """No objects at all."""
        return cls(boxes=torch.zeros(0, 4), scores=torch.zeros(0))

    @classmethod
    def join(cls, parts: Sequence[Proposals]) -> Proposals:
        """All rows one after the other; a field that one of the non-empty parts lacks is left out."""
        parts = [part for part in parts if len(part)]
        if not parts:
            return cls.empty()
        columns = {f.name: [getattr(part, f.name) for part in parts] for f in fields(cls)}
        for name in ("masks", "embeddings"):
            if None not in columns[name] and len({column.shape[1:] for column in columns[name]}) > 1:
                raise DetectorError(f"Proposals.join: {name} of different sizes")
        return cls(
            **{k: None if any(c is None for c in column) else torch.cat(column) for k, column in columns.items()}
        )


def label_map(proposals: Proposals) -> Tensor:
    """Which object each pixel belongs to: (H, W) int32, row + 1, and 0 for none; the higher score wins an overlap.

    Raises:
        DetectorError: The proposals have no masks.
    """
    if proposals.masks is None:
        raise DetectorError("label_map: the proposals have no masks")
    labels = torch.zeros(proposals.masks.shape[1:], dtype=torch.int32, device=proposals.masks.device)
    for row in proposals.scores.argsort(stable=True, descending=True).flip(0).tolist():
        labels[proposals.masks[row]] = row + 1
    return labels


def proposals_from_masks(
    probabilities: Tensor,
    presence: Tensor,
    size: tuple[int, int],
    embeddings: Tensor | None = None,
    depth: Tensor | None = None,
    confidence: Tensor | None = None,
    least_area: int = LEAST_AREA,
    threshold: float = 0.0,
    least_presence: float = 0.0,
    largest_component: bool = True,
) -> Proposals:
    """Proposals of the soft masks of slots, at the image's full resolution.

    Every slot competes for pixels (`assign_pixels`); those with little presence and those that win few pixels are
    dropped after.  A score is the presence times the mean probability inside the mask; scores and embeddings keep
    their gradients to ``presence`` and ``embeddings``.

    Args:
        probabilities: (K, h, w) soft masks whose sum over K is at most 1; the rest belongs to none.
        presence: (K,) in [0, 1], how surely each slot is an object.
        size: (H, W) of the image.
        embeddings: (K, D) of the slots.
        depth: (H, W), not finite or not positive where unknown.
        confidence: (H, W) weights >= 0 of the depth.
        least_area: Pixels that a mask needs.
        threshold: Least probability of a pixel's slot.
        least_presence: Presence that a slot needs.
        largest_component: Only the largest 8-connected part of a mask counts.

    Returns:
        At most K proposals with masks, in the order of the slots.
    """
    if presence.shape != probabilities.shape[:1]:
        raise DetectorError(f"expected one presence a slot, found {tuple(presence.shape)}")
    labels, best = assign_pixels(probabilities, size, threshold)
    return proposals_from_labels(
        labels, presence, best, embeddings, depth, confidence, least_area, least_presence, largest_component
    )


def proposals_from_labels(
    labels: Tensor,
    scores: Tensor,
    probability: Tensor | None = None,
    embeddings: Tensor | None = None,
    depth: Tensor | None = None,
    confidence: Tensor | None = None,
    least_area: int = LEAST_AREA,
    least_score: float = 0.0,
    largest_component: bool = True,
) -> Proposals:
    """Proposals of the regions of a label map, in the order of their labels.

    The depth of an object is the median over its mask, weighted by the confidence, without the outermost pixels where
    enough is left.

    Args:
        labels: (H, W) integers 0..K, 0 for none.
        scores: (K,) in [0, 1] of the labels 1..K.
        probability: (H, W) in [0, 1]; its mean inside a mask multiplies the score.
        embeddings: (K, D).
        depth: (H, W), not finite or not positive where unknown.
        confidence: (H, W) weights >= 0 of the depth.
        least_area: Pixels that a mask needs.
        least_score: Score that a label needs.
        largest_component: Only the largest 8-connected part of a region counts.

    Returns:
        At most K proposals with masks.

    Raises:
        DetectorError: Shapes that do not fit, or a label above K.
    """
    from scipy.ndimage import find_objects

    for name, value in (("probability", probability), ("depth", depth), ("confidence", confidence)):
        if labels.ndim != 2 or (value is not None and value.shape != labels.shape):
            found = tuple(labels.shape), None if value is None else tuple(value.shape)
            raise DetectorError(f"expected labels (H, W) and {name} of the same size, found {found[0]} and {found[1]}")
    if embeddings is not None and embeddings.shape[:1] != scores.shape:
        raise DetectorError(f"expected one embedding a score, found {len(embeddings)} and {len(scores)}")
    maps = [None if m is None else m.detach().cpu().numpy() for m in (labels.int(), probability, depth, confidence)]
    array, inside, distance, weight = maps
    if array.size and not 0 <= array.min() <= array.max() <= len(scores):
        raise DetectorError(f"expected labels 0..{len(scores)}, found {array.min()}..{array.max()}")

    if distance is not None:
        known = np.isfinite(distance) & (distance > 0)
        if weight is not None:
            known &= np.isfinite(weight) & (weight > 0)

    rows, boxes, quality, depths, masks = [], [], [], [], []
    enough = (scores >= least_score).tolist()
    for row, window in enumerate(find_objects(array, max_label=len(scores))):
        if window is None or not enough[row]:
            continue
        part = cut_out((array[window] == row + 1).view(np.uint8), largest_component)
        member, (x1, y1, x2, y2) = part
        if (area := np.count_nonzero(member)) < least_area:
            continue
        top, left = window[0].start, window[1].start
        window = slice(top + y1, top + y2), slice(left + x1, left + x2)
        rows.append(row)
        boxes.append((left + x1, top + y1, left + x2, top + y2))
        quality.append(1.0 if inside is None else float(inside[window].ravel() @ member.ravel()) / area)
        if distance is not None:
            sure = None if weight is None else weight[window]
            depths.append(median_depth(distance[window], known[window], member, sure))
        masks.append(np.zeros(array.shape, bool))
        masks[-1][window] = member
    device = labels.device
    return Proposals(
        boxes=torch.tensor(boxes, dtype=torch.float32, device=device).reshape(-1, 4),
        scores=(scores[rows] * torch.tensor(quality, device=device)).clamp(0, 1).float(),
        masks=torch.from_numpy(np.stack(masks) if masks else np.zeros((0, *array.shape), bool)).to(device),
        embeddings=None if embeddings is None else embeddings[rows],
        depths=None if depth is None else torch.tensor(depths, dtype=torch.float32, device=device),
    )
