"""From the objects of one frame to a scene graph: node and edge embeddings, soft adjacency, relations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor, nn

from scenegraph_track.graph.adjacency import SoftAdjacency
from scenegraph_track.graph.relation_heads import RelationHeads, stated_relations
from scenegraph_track.structures import RELATIONS

NODE_GEOMETRY = 12
"""Width of what `node_geometry` tells of an object."""

EDGE_GEOMETRY = 11
"""Width of what `edge_geometry` tells of a pair."""


@dataclass(frozen=True)
class ConstructedGraph:
    """The scene graph of one frame of N objects with E edges, all differentiable.

    Args:
        nodes: (N, node_dim) embeddings.
        edge_index: (2, E) sources over targets.
        edges: (E, edge_dim) embeddings.
        adjacency: (E,) in [0, 1].
        relations: (E, 6) logits in the order of `RELATIONS`.
    """

    nodes: Tensor
    edge_index: Tensor
    edges: Tensor
    adjacency: Tensor
    relations: Tensor


class SceneGraphConstructor(nn.Module):
    """Embeds the objects of a frame and the pairs of near ones.

    Args:
        node_dim: Width of node embeddings.
        edge_dim: Width of edge embeddings.
        appearance_dim: Width of the appearance vectors, 0 without any.
        neighbours: Edges per object of each kind: nearest, most overlapping, most alike.
        keep: Edges per target whose adjacency is not 0; None: all.
        temperature: Of the adjacency.
    """

    def __init__(
        self,
        node_dim: int = 64,
        edge_dim: int = 32,
        appearance_dim: int = 0,
        neighbours: int = 4,
        keep: int | None = None,
        temperature: float = 0.5,
    ) -> None:
        super().__init__()
        self.appearance_dim, self.neighbours = appearance_dim, neighbours
        told = NODE_GEOMETRY + 2 + appearance_dim + 1
        self.node = nn.Sequential(
            nn.Linear(told, node_dim), nn.ReLU(), nn.Linear(node_dim, node_dim), nn.LayerNorm(node_dim)
        )
        self.pair = nn.Linear(EDGE_GEOMETRY + len(RELATIONS) + 1, edge_dim)
        self.ends = nn.Linear(node_dim, 2 * edge_dim, bias=False)
        self.edge = nn.Sequential(nn.ReLU(), nn.Linear(edge_dim, edge_dim), nn.LayerNorm(edge_dim))
        self.adjacency = SoftAdjacency(edge_dim, temperature, keep)
        self.relations = RelationHeads(edge_dim)

    def forward(
        self,
        boxes: Tensor,
        scores: Tensor,
        visibility: Tensor,
        size: Tensor,
        appearance: Tensor | None = None,
        positions: Tensor | None = None,
        depth: Tensor | None = None,
        edge_index: Tensor | None = None,
    ) -> ConstructedGraph:
        """The graph of one frame.

        Args:
            boxes: (N, 4) xyxy pixels.
            scores: (N,) in [0, 1].
            visibility: (N,) in [0, 1].
            size: (2,) width and height of the image, pixels, or (N, 2) for objects of several images.
            appearance: (N, appearance_dim), or None where unknown.
            positions: (N, 3) in the axes of the camera, or None; NaN where unknown.
            depth: (N, 3) mean, standard deviation and range of the depth within each object, or None; NaN where
                unknown.
            edge_index: (2, E) the pairs; None: `spatial_edges`.
        """
        if edge_index is None:
            edge_index = spatial_edges(boxes, appearance, self.neighbours)
        n = boxes.shape[0]
        alike = boxes.new_zeros(n, self.appearance_dim) if appearance is None else appearance
        told = boxes.new_full((n, 1), 0.0 if appearance is None else 1.0)
        geometry = node_geometry(boxes, size, positions, depth)
        nodes = self.node(torch.cat([geometry, scores[:, None], visibility[:, None], alike, told], 1))
        source, target = edge_index[0], edge_index[1]
        mean = None if depth is None else depth[:, 0]
        pair, stated = edge_geometry(boxes, edge_index, mean), stated_relations(boxes, edge_index, mean)
        unit = alike / alike.norm(dim=1, keepdim=True).clamp(min=1e-6)
        cosine = (unit[source] * unit[target]).sum(1, keepdim=True)
        out, into = self.ends(nodes).chunk(2, 1)
        edges = self.edge(out[source] + into[target] + self.pair(torch.cat([pair, stated.tanh(), cosine], 1)))
        adjacency, relations = self.adjacency(edges, edge_index), self.relations(edges, stated)
        return ConstructedGraph(nodes, edge_index, edges, adjacency, relations)


def node_geometry(boxes: Tensor, size: Tensor, positions: Tensor | None, depth: Tensor | None) -> Tensor:
    """(N, NODE_GEOMETRY) where each object is and how large, in parts of the image, with unknown values 0 and told."""
    n = boxes.shape[0]
    scale = torch.cat([size, size], -1)
    place = boxes / scale
    extent = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3) / size
    unknown = boxes.new_full((n, 3), torch.nan)
    space = torch.cat([unknown if positions is None else positions, unknown if depth is None else depth], 1)
    known = torch.isfinite(space)
    squashed = torch.where(known, space, torch.zeros_like(space))
    squashed = squashed / (1 + squashed.abs())
    there = torch.stack([known[:, 2], known[:, 3]], 1).to(boxes)
    middle = ((place[:, :2] + place[:, 2:]) / 2).clamp(-2, 3)
    return torch.cat([middle, extent.log() / 3, squashed, there], 1)


def edge_geometry(boxes: Tensor, edge_index: Tensor, depth: Tensor | None) -> Tensor:
    """(E, EDGE_GEOMETRY) how the target lies to the source.

    Distance of centres in the source's width and height, logarithms of the ratios of both, IoU, the parts of target and
    source that they share, difference of the lower edges, and from depth: logarithm of the ratio, soft order, whether
    known.
    """
    a, b = boxes[edge_index[0]], boxes[edge_index[1]]
    size_a, size_b = (a[:, 2:] - a[:, :2]).clamp(min=1e-3), (b[:, 2:] - b[:, :2]).clamp(min=1e-3)
    apart = (b[:, :2] + b[:, 2:] - a[:, :2] - a[:, 2:]) / 2 / size_a
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(1)
    area_a, area_b = size_a.prod(1), size_b.prod(1)
    foot = (b[:, 3] - a[:, 3]) / size_a[:, 1]
    if depth is None:
        ratio, known = torch.zeros_like(shared), torch.zeros_like(shared)
    else:
        ratio = depth[edge_index[1]].clamp(min=1e-3).log() - depth[edge_index[0]].clamp(min=1e-3).log()
        known = torch.isfinite(ratio).to(boxes)
        ratio = torch.where(known > 0, ratio, torch.zeros_like(ratio))
    columns = (shared / (area_a + area_b - shared), shared / area_b, shared / area_a, foot / (1 + foot.abs()), ratio)
    order = (ratio / 0.05).tanh()
    return torch.cat([apart / (1 + apart.abs()), (size_b / size_a).log(), torch.stack([*columns, order, known], 1)], 1)


def spatial_edges(boxes: Tensor, appearance: Tensor | None = None, neighbours: int = 4) -> Tensor:
    """Pairs of objects that are near, overlap or look alike, in both directions: (2, E), E linear in the objects.

    Args:
        boxes: (N, 4) xyxy pixels.
        appearance: (N, D) or None.
        neighbours: Of each object and kind.
    """
    n, k = len(boxes), min(neighbours, len(boxes) - 1)
    if k < 1:
        return torch.zeros(2, 0, dtype=torch.int64, device=boxes.device)
    corners = boxes.detach().double().cpu().numpy()
    centre = (corners[:, :2] + corners[:, 2:]) / 2
    near = cKDTree(centre).query(centre, min(4 * k, n - 1) + 1)[1]
    source, target = np.repeat(np.arange(n), near.shape[1]), near.reshape(-1)
    a, b = corners[source], corners[target]
    shared = np.maximum(np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2]), 0).prod(1)
    overlap = np.where(source == target, -1.0, shared).reshape(n, -1)
    most = np.take_along_axis(near, np.argsort(-overlap, axis=1, kind="stable")[:, :k], 1)
    kinds = [near[:, : k + 1], most]
    if appearance is not None:
        looks = appearance.detach().double().cpu().numpy()
        looks = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), 1e-9)
        kinds.append(cKDTree(looks).query(looks, k + 1)[1])
    pairs = np.concatenate([(np.arange(n)[:, None] * n + kind).reshape(-1) for kind in kinds])
    i, j = np.divmod(pairs, n)
    i, j = np.divmod(np.unique(np.concatenate([pairs, j * n + i])), n)
    apart = i != j
    return torch.from_numpy(np.stack([i[apart], j[apart]])).to(boxes.device)
