"""What each edge of the scene graph says: occludes, in front of, left of, above, contains, near."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from scenegraph_track.structures import RELATIONS


class RelationHeads(nn.Module):
    """Probabilities that the source of an edge stands in each of `RELATIONS` to its target.

    What is learned is a correction to the stated rules; it begins at zero.

    Args:
        edge_dim: Width of the edge embeddings.
    """

    def __init__(self, edge_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(edge_dim, edge_dim), nn.ReLU(), nn.Linear(edge_dim, len(RELATIONS)))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)

    def forward(self, edges: Tensor, stated: Tensor) -> Tensor:
        """Logits (E, 6) of edge embeddings (E, edge_dim) and `stated_relations` (E, 6)."""
        return stated + self.net(edges)


def stated_relations(boxes: Tensor, edge_index: Tensor, depth: Tensor | None = None) -> Tensor:
    """Logits (E, 6) of the relations by the rules of `relations_from_boxes`, none beyond that of 0.01 %.

    Args:
        boxes: (N, 4) xyxy pixels.
        edge_index: (2, E) sources over targets.
        depth: (N,) metres, NaN where unknown; None: all unknown.
    """
    a, b = boxes[edge_index[0]], boxes[edge_index[1]]
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    width, height = ((size_a + size_b) / 2).clamp(min=1e-6).unbind(1)
    apart = (b[:, :2] + b[:, 2:] - a[:, :2] - a[:, 2:]) / 2
    overlap = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    area_a, area_b = size_a.prod(1).clamp(min=1e-6), size_b.prod(1).clamp(min=1e-6)
    covered = overlap / area_b
    front = (a[:, 3] - b[:, 3]) / (0.05 * height)
    if depth is not None:
        near, far = depth[edge_index[0]], depth[edge_index[1]]
        behind = (far - near) / (0.025 * (far + near))
        front = torch.where(torch.isfinite(behind), behind, front)
    said = {
        "occludes": front.sigmoid() * ((covered - 0.1) / 0.03).sigmoid() * (overlap > 0),
        "in_front_of": front.sigmoid(),
        "left_of": (apart[:, 0] / (0.2 * width)).sigmoid(),
        "above": (apart[:, 1] / (0.2 * height)).sigmoid(),
        "contains": ((covered - 0.9) / 0.02).sigmoid() * (area_a > area_b),
        "near": ((1 - apart.norm(dim=1) / height) / 0.2).sigmoid(),
    }
    return torch.stack([said[name] for name in RELATIONS], 1).logit(eps=1e-4)


def relation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy with known relations.

    Args:
        logits: (E, 6).
        truth: (E, 6) in [0, 1], NaN where unknown.
    """
    known = torch.isfinite(truth)
    loss = binary_cross_entropy_with_logits(logits, truth.nan_to_num(0.0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
