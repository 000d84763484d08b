"""Objects without any training: connected components of what moves on its own.

The magnitude of the motion residual is thresholded on a coarse grid; neighbouring cells belong together unless their
residuals differ much.  Nothing that stands still is found, and one object is in pieces where its parts move apart.

`THRESHOLD`, `LEAST`, `SPLIT`, `SPLIT_SHARE` and `LEAST_AREA` are those of some thirty settings that gave the largest
sum of mBO and FG-ARI over whole videos on ten validation worlds (preset "standard", split "val", seeds 0 to 9, 128 x
128 pixels, the flow and depth that ship with the package, linked as the evaluation does).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from detectors.errors import DetectorError
from detectors.proposals import Proposals, proposals_from_labels
from geometry.motion_mask import residual_noise

GRID = 64
"""Cells along the longer side of the image."""

THRESHOLD = 2.0
"""Standard deviations of the residual's noise from which a cell moves."""

LEAST = 0.3
"""Pixels of residual under which nothing moves."""

SPLIT = 1.0
"""Standard deviations of the noise by which the residuals of neighbours may differ in any case."""

SPLIT_SHARE = 0.15
"""Share of their mean length by which the residuals of neighbours may differ."""

LEAST_AREA = 1e-3
"""Share of the image that a component needs."""

_QUIETEST = 0.1
"""Pixels: noise is never taken for less."""

_REACH = 4
"""Cells from which a piece that is too small for itself joins the nearest component."""


def motion_components(
    residual: Tensor,
    threshold: float = THRESHOLD,
    noise: float | None = None,
    grid: int = GRID,
    least_area: float = LEAST_AREA,
    split: float | None = SPLIT,
) -> Tensor:
    """Connected components of the motion residual.

    Two neighbouring cells (of four) are connected where both move and their residuals differ by less than ``split``
    standard deviations or `SPLIT_SHARE` of their mean length.  Pieces under the least area join the nearest component
    that they are close to, else they are dropped.

    Args:
        residual: (2, H, W) pixels, `geometry.camera.motion_residual`; not finite where the flow is not to be trusted.
        threshold: Standard deviations of the noise from which a cell moves; never less than `LEAST` pixels.
        noise: Standard deviation of each component of the residual in pixels; None for `residual_noise`.
        grid: Cells along the longer side of the image; of a smaller image each pixel is a cell.
        least_area: Share of the image that a component needs.
        split: Standard deviations; None to keep all together that touches.

    Returns:
        (H, W) int32 on the CPU: 1.. the components from the top down, 0 what does not move or is unknown.

    Raises:
        DetectorError: The shape is wrong, or a setting is out of range.
    """
    _check(residual, threshold, noise, grid, least_area, split)
    residual = residual.detach().float().cpu()
    sigma = _noise(residual, noise)
    cells, known = _reduced(residual, grid)
    moving = known & (np.hypot(*cells) > max(threshold * sigma, LEAST))
    if not moving.any():
        return torch.zeros(residual.shape[1:], dtype=torch.int32)
    labels = _connected(cells, moving, None if split is None else split * sigma)
    labels = _without_small(labels, moving, least_area * labels.size)
    rows, columns = (np.arange(n) * m // n for n, m in zip(residual.shape[1:], labels.shape))
    return torch.from_numpy(labels[np.ix_(rows, columns)])


def component_proposals(
    residual: Tensor,
    depth: Tensor | None = None,
    confidence: Tensor | None = None,
    threshold: float = THRESHOLD,
    noise: float | None = None,
    grid: int = GRID,
    least_area: float = LEAST_AREA,
    split: float | None = SPLIT,
) -> Proposals:
    """The components of the motion residual as proposals, in the order of `motion_components`.

    With m the median length of the residual inside and t the length from which a cell moves, the score is
    ``m / (m + t)``: 0.5 for what barely moves, near 1 for what moves fast.

    Args:
        residual: (2, H, W) pixels, not finite where the flow is not to be trusted.
        depth: (H, W), not finite or not positive where unknown.
        confidence: (H, W) weights >= 0 of the depth.
        threshold: See `motion_components`, as the arguments after it.
        noise: Standard deviation in pixels, or None.
        grid: Cells along the longer side.
        least_area: Share of the image.
        split: Standard deviations, or None.

    Returns:
        Proposals with masks, on the CPU.

    Raises:
        DetectorError: A shape is wrong, or a setting is out of range.
    """
    labels = motion_components(residual, threshold, noise, grid, least_area, split)
    residual = residual.detach().float().cpu()
    least = max(threshold * _noise(residual, noise), LEAST)
    lengths = torch.linalg.vector_norm(residual, dim=0)
    inside = [lengths[labels == label].nanmedian() for label in range(1, int(labels.max()) + 1)]
    medians = torch.stack(inside) if inside else torch.zeros(0)
    depth, confidence = (None if one is None else one.cpu() for one in (depth, confidence))
    return proposals_from_labels(
        labels,
        medians / (medians + least),
        depth=depth,
        confidence=confidence,
        least_area=1,
        largest_component=False,
    )


def _check(
    residual: Tensor, threshold: float, noise: float | None, grid: int, least_area: float, split: float | None
) -> None:
    if residual.ndim != 3 or len(residual) != 2 or 0 in residual.shape or not residual.is_floating_point():
        raise DetectorError(f"expected a motion residual (2, H, W), found {tuple(residual.shape)} {residual.dtype}")
    numbers = (threshold, 0.0 if noise is None else noise, 0.0 if split is None else split)
    if not all(number >= 0 for number in numbers) or grid < 1 or not 0 <= least_area <= 1:
        raise DetectorError(
            "expected threshold, noise and split >= 0, grid >= 1 and least_area in [0, 1], "
            f"found {threshold}, {noise}, {split}, {grid} and {least_area}"
        )


def _noise(residual: Tensor, given: float | None) -> float:
    """The noise to go by, in pixels; infinite where no pixel is trusted and none is given."""
    return max(residual_noise(residual, residual.isfinite().all(0)) if given is None else given, _QUIETEST)


def _reduced(residual: Tensor, grid: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Mean residual (2, h, w) of the trusted pixels of each cell, and which cells are trusted by half or more."""
    height, width = residual.shape[1:]
    factor = min(grid / max(height, width), 1.0)
    size = max(round(height * factor), 1), max(round(width * factor), 1)
    trusted = residual.isfinite().all(0)
    both = torch.cat([torch.where(trusted, residual, 0.0), trusted[None].float()])
    *sums, share = adaptive_avg_pool2d(both[None], size)[0]
    return (torch.stack(sums) / share.clamp(min=1e-6)).numpy(), (share >= 0.5).numpy()


def _connected(cells: NDArray, moving: NDArray[np.bool_], split: float | None) -> NDArray[np.int32]:
    """Labels (h, w) from 1 of the connected components; 0 where nothing moves."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers = np.arange(moving.size).reshape(moving.shape)
    a = np.concatenate([numbers[:, :-1].ravel(), numbers[:-1].ravel()])
    b = np.concatenate([numbers[:, 1:].ravel(), numbers[1:].ravel()])
    linked = moving.ravel()[a] & moving.ravel()[b]
    if split is not None:
        vectors, lengths = cells.reshape(2, -1), np.hypot(*cells).ravel()
        allowed = np.maximum(split, SPLIT_SHARE * (lengths[a] + lengths[b]) / 2)
        linked &= np.hypot(*(vectors[:, a] - vectors[:, b])) < allowed
    edges = np.ones(int(linked.sum()), bool), (a[linked], b[linked])
    labels = connected_components(coo_array(edges, shape=(moving.size, moving.size)), directed=False)[1]
    return np.where(moving, labels.reshape(moving.shape) + 1, 0).astype(np.int32)


def _without_small(labels: NDArray[np.int32], moving: NDArray[np.bool_], least: float) -> NDArray[np.int32]:
    """The components of at least so many cells, numbered from 1, with the small pieces near them."""
    from scipy.ndimage import distance_transform_edt

    sizes = np.bincount(labels.ravel())
    kept = (sizes >= least) & (np.arange(len(sizes)) > 0) & (sizes > 0)
    labels = np.where(kept, np.cumsum(kept), 0)[labels].astype(np.int32)
    if not kept.any():
        return labels
    distance, nearest = distance_transform_edt(labels == 0, return_indices=True)
    joined = moving & (labels == 0) & (distance <= _REACH)
    return np.where(joined, labels[tuple(nearest)], labels)
