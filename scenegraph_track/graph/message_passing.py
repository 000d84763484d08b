"""Messages between tracks (the past) and detections (the present) along candidate edges."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 14.0
"""Logits are held within this, so that their exponentials need no normalisation."""


class CueMixture(nn.Module):
    """Features of an edge as a weighted sum over cues, so that the weights say what a decision rests on.

    The features of each cue are embedded by weights of their own, and summed by a softmax over the available cues.

    Args:
        widths: Number of features of each cue, in the order of the columns.
        width: Of the embedding.
    """

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.cues, self.width = len(widths), width
        self.embed = nn.Linear(sum(widths), self.cues * width)
        mask = torch.zeros(self.cues, width, sum(widths))
        for k, count in enumerate(widths):
            begin = sum(widths[:k])
            mask[k, :, begin : begin + count] = 1
        self.register_buffer("mask", mask.flatten(0, 1), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Embeddings (E, C, width) of features (E, F)."""
        embedded = nn.functional.linear(features, self.embed.weight * self.mask, self.embed.bias)
        return embedded.relu().view(-1, self.cues, self.width)


def cue_weights(scores: Tensor, available: Tensor) -> Tensor:
    """Softmax over the available cues: (E, C) from scores (E, C) and bools (E, C)."""
    return scores.masked_fill(~available, -30.0).softmax(1)


def total(values: Tensor, index: Tensor, count: int) -> Tensor:
    """Sums of (E, ...) over equal indices, (count, ...)."""
    return values.new_zeros(count, *values.shape[1:]).index_add_(0, index, values)


def rivals(logits: Tensor, edge_index: Tensor, none: Tensor, new: Tensor) -> Tensor:
    """How an edge stands among its competitors: its share of its track's options and of its detection's, (E, 2).

    Args:
        logits: (E,) of the edges.
        edge_index: (2, E).
        none: (N,) logits of tracks that are not seen.
        new: (M,) logits of detections that are no track's.
    """
    row, column = edge_index[0], edge_index[1]
    weight = logits.clamp(-LIMIT, LIMIT).exp()
    rows = total(weight, row, none.shape[0]) + none.clamp(-LIMIT, LIMIT).exp()
    columns = total(weight, column, new.shape[0]) + new.clamp(-LIMIT, LIMIT).exp()
    alone = torch.stack([rows.index_select(0, row), columns.index_select(0, column)], dim=1)
    return weight[:, None] / alone


class DirectedLayer(nn.Module):
    """One round of messages: edges look at both ends and at their competitors, ends at their edges.

    With edge states :math:`e`, tracks :math:`t`, detections :math:`d`, the initial edge features :math:`x` and the
    shares among competitors :math:`r`::

        z_ij = relu(W [e_ij, x_ij, r_ij] + W_t t_i + W_d d_j)
        e_ij = norm(e_ij + W_e z_ij)
        t_i  = norm(t_i + relu(U_t [t_i, sum_j f(z_ij), max_j f(z_ij)]))      from the present to the past
        d_j  = norm(d_j + relu(U_d [d_j, sum_i p(z_ij), max_i p(z_ij)]))      from the past to the present

    (messages apart by direction in time and initial features attached again: MPNTrack, Braso and Leal-Taixe, CVPR
    2020).

    Args:
        width: Of all states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.edge_in = nn.Linear(2 * width + 2, width)
        self.track_in = nn.Linear(width, width, bias=False)
        self.detection_in = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, 3 * width)
        self.track_out = nn.Linear(3 * width, width)
        self.detection_out = nn.Linear(3 * width, width)
        self.edge_norm, self.track_norm, self.detection_norm = (nn.LayerNorm(width) for _ in range(3))

    def forward(
        self, edges: Tensor, initial: Tensor, shares: Tensor, tracks: Tensor, detections: Tensor, edge_index: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New states of edges (E, width), tracks (N, width) and detections (M, width)."""
        row, column = edge_index[0], edge_index[1]
        z = self.edge_in(torch.cat([edges, initial, shares], 1))
        z = z + self.track_in(tracks).index_select(0, row) + self.detection_in(detections).index_select(0, column)
        change, future, past = self.out(z.relu()).split(self.width, dim=1)
        edges = self.edge_norm(edges + change)
        tracks = self.track_norm(tracks + self.track_out(_gathered(tracks, future, row)).relu())
        detections = self.detection_norm(detections + self.detection_out(_gathered(detections, past, column)).relu())
        return edges, tracks, detections


def _gathered(nodes: Tensor, messages: Tensor, index: Tensor) -> Tensor:
    """States of the nodes beside the sum and the maximum of their messages."""
    largest = torch.zeros_like(nodes).scatter_reduce(
        0, index[:, None].expand_as(messages), messages, "amax", include_self=False
    )
    return torch.cat([nodes, total(messages, index, nodes.shape[0]), largest], 1)
