"""What each edge of the scene graph says: occludes, in front of, left of, above, contains, near."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid

from scenegraph_track.structures import RELATIONS

_FAR, _NEVER = 4.0, -20.0


class RelationHeads(nn.Module):
    r"""Probabilities that the source of an edge stands in each of `RELATIONS` to its target.

    What is learned is a correction to the stated rules: :math:`z = a\,s + g\,c`, with the stated logit :math:`s` (what
    lies far beyond `_FAR` counts by its logarithm, but in the same order), how steep it is :math:`a`, which begins at
    one, and the correction :math:`c` of the edge, which begins at zero.  How far that is believed, :math:`g`
    (``strength``), is not learned but chosen for each relation on held-out worlds; 0 is the rule itself.

    Args:
        edge_dim: Width of the edge embeddings.
    """

    strength: Tensor

    def __init__(self, edge_dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(edge_dim, edge_dim), nn.ReLU(), nn.Linear(edge_dim, len(RELATIONS)))
        nn.init.zeros_(self.net[-1].weight)
        nn.init.zeros_(self.net[-1].bias)
        self.steepness = nn.Parameter(torch.ones(len(RELATIONS)))
        self.register_buffer("strength", torch.ones(len(RELATIONS)))

    def forward(self, edges: Tensor, stated: Tensor) -> Tensor:
        """Logits (E, 6) of edge embeddings (E, edge_dim) and `stated_relations` (E, 6)."""
        return self.steepness * _FAR * (stated / _FAR).asinh() + self.strength * self.net(edges)


def stated_relations(boxes: Tensor, edge_index: Tensor, depth: Tensor | None = None) -> Tensor:
    """Logits (E, 6) of the relations by the rules of `relations_from_boxes`; `_NEVER` what they exclude.

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
        "occludes": torch.where(overlap > 0, _both(front, (covered - 0.1) / 0.03), _NEVER),
        "in_front_of": front,
        "left_of": apart[:, 0] / (0.2 * width),
        "above": apart[:, 1] / (0.2 * height),
        "contains": torch.where(area_a > area_b, (covered - 0.9) / 0.02, _NEVER),
        "near": (1 - apart.norm(dim=1) / height) / 0.2,
    }
    return torch.stack([said[name] for name in RELATIONS], 1)


def _both(x: Tensor, y: Tensor) -> Tensor:
    """The logit of both, of logits of two independent things."""
    together = (logsigmoid(x) + logsigmoid(y)).clamp(max=-1e-6)
    return together - (-torch.expm1(together)).log()


def relation_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean cross entropy with known relations.

    Args:
        logits: (E, 6).
        truth: (E, 6) in [0, 1], NaN where unknown.
    """
    known = torch.isfinite(truth)
    loss = binary_cross_entropy_with_logits(logits, truth.nan_to_num(0.0), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)
