"""Relations between the objects of one frame from their boxes, by stated rules; known depth refines them."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from scenegraph_track.structures import RELATIONS

NEIGHBOURS = 8
"""Each object is related to this many nearest others (by distance of centres), so that cost is linear in objects."""


def relations_from_boxes(
    boxes: np.ndarray, depths: np.ndarray | None = None, neighbours: int = NEIGHBOURS
) -> dict[str, np.ndarray]:
    """Relate each object to its nearest neighbours.

    With width ``w``, height ``h``, centre ``(cx, cy)``, bottom edge ``y2``, means over the pair ``w'``, ``h'``, and
    ``s(x) = 1 / (1 + exp(-x))``, source ``i``, target ``j``:

    - in_front_of: ``s((d_j - d_i) / (0.05 d'))`` where both depths are known, else
      ``s((y2_i - y2_j) / (0.05 h'))``: of two objects that stand on the ground the lower one is nearer;
    - occludes: in_front_of times ``s((c - 0.1) / 0.03)``, ``c`` the part of box ``j`` that box ``i`` covers;
    - left_of: ``s((cx_j - cx_i) / (0.2 w'))``, above: ``s((cy_j - cy_i) / (0.2 h'))``;
    - contains: ``s((c - 0.9) / 0.02)`` where box ``i`` is the larger, else 0;
    - near: ``s((1 - distance of centres / h') / 0.2)``.

    Args:
        boxes: (N, 4) xyxy pixels.
        depths: (N,) metres along z, NaN where unknown.
        neighbours: Number of nearest others of each object.

    Returns:
        ``edge_index`` (2, E) int64, ``relation`` (E, 6) in the order of ``RELATIONS``, ``adjacency`` (E,): the larger
        of near and occludes in either direction.
    """
    n = len(boxes)
    k = min(neighbours, n - 1)
    if k < 1:
        return {
            "edge_index": np.zeros((2, 0), dtype=np.int64),
            "relation": np.zeros((0, len(RELATIONS))),
            "adjacency": np.zeros(0),
        }
    size = boxes[:, 2:] - boxes[:, :2]
    centre = boxes[:, :2] + size / 2
    if k == n - 1:
        source, target = np.nonzero(~np.eye(n, dtype=bool))
    else:
        nearest = cKDTree(centre).query(centre, k + 1)[1]
        source = np.repeat(np.arange(n), k + 1)
        target = nearest.reshape(-1)
        pair = np.unique(np.concatenate([source * n + target, target * n + source]))  # both directions of every pair
        source, target = pair // n, pair % n
        source, target = source[source != target], target[source != target]
    a, b = boxes[source], boxes[target]
    width, height = np.maximum((size[source] + size[target]).T / 2, 1e-6)
    apart = centre[target] - centre[source]
    overlap = np.clip(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0, None).prod(1)
    area = np.maximum(size.prod(1), 1e-6)
    covered = overlap / area[target]
    front = (a[:, 3] - b[:, 3]) / (0.05 * height)
    if depths is not None:
        behind = (depths[target] - depths[source]) / (0.025 * (depths[target] + depths[source]))
        front = np.where(np.isfinite(behind), behind, front)
    front = _sigmoid(front)
    occludes = front * _sigmoid((covered - 0.1) / 0.03) * (overlap > 0)
    contains = np.where(area[source] > area[target], _sigmoid((covered - 0.9) / 0.02), 0.0)
    near = _sigmoid((1 - np.hypot(*apart.T) / height) / 0.2)
    columns = {
        "occludes": occludes,
        "in_front_of": front,
        "left_of": _sigmoid(apart[:, 0] / (0.2 * width)),
        "above": _sigmoid(apart[:, 1] / (0.2 * height)),
        "contains": contains,
        "near": near,
    }
    key = source * n + target
    back = np.searchsorted(key, target * n + source)  # every pair stands in both directions, sorted
    return {
        "edge_index": np.stack([source, target]),
        "relation": np.stack([columns[name] for name in RELATIONS], axis=1),
        "adjacency": np.maximum(near, np.maximum(occludes, occludes[back])),
    }


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
