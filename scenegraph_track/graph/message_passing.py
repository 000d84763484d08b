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


def joined_ends(edge_index: Tensor, tracks: int) -> Tensor:
    """Both ends of each edge, first of all the tracks and then the detections: (2 E,) rows of tracks over detections.

    All sums over edges are made of both sides at once, which takes half the time.

    Args:
        edge_index: (2, E).
        tracks: Their number.
    """
    return torch.cat([edge_index[0], edge_index[1] + tracks])


def rivals(logits: Tensor, ends: Tensor, none: Tensor, new: Tensor) -> Tensor:
    """How an edge stands among its competitors: its share of its track's options and of its detection's, (E, 2).

    Args:
        logits: (E,) of the edges.
        ends: (2 E,) of `joined_ends`.
        none: (N,) logits of tracks that are not seen.
        new: (M,) logits of detections that are no track's.
    """
    weight = logits.clamp(-LIMIT, LIMIT).exp()
    options = torch.cat([none, new]).clamp(-LIMIT, LIMIT).exp().index_add(0, ends, weight.repeat(2))
    return weight[:, None] / options.index_select(0, ends).view(2, -1).T


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
        self, edges: Tensor, initial: Tensor, shares: Tensor, tracks: Tensor, detections: Tensor, ends: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """New states of edges (E, width), tracks (N, width) and detections (M, width); ends of `joined_ends`."""
        n, m = tracks.shape[0], detections.shape[0]
        nodes = torch.cat([self.track_in(tracks), self.detection_in(detections)])
        track, detection = nodes.index_select(0, ends).view(2, -1, self.width)
        z = self.edge_in(torch.cat([edges, initial, shares], 1)) + track + detection
        change, future, past = self.out(z.relu()).split(self.width, dim=1)
        edges = self.edge_norm(edges + change)
        heard = _heard(torch.cat([future, past]), ends, n + m)
        tracks = self.track_norm(tracks + self.track_out(torch.cat([tracks, heard[:n]], 1)).relu())
        told = torch.cat([detections, heard[n:]], 1)
        detections = self.detection_norm(detections + self.detection_out(told).relu())
        return edges, tracks, detections


def _heard(messages: Tensor, ends: Tensor, count: int) -> Tensor:
    """The sum and the maximum of the messages to each node, (count, 2 width), zeros where none came."""
    nothing = messages.new_zeros(count, messages.shape[1])
    index = ends[:, None].expand_as(messages)
    largest = nothing.scatter_reduce(0, index, messages, "amax", include_self=False)
    return torch.cat([nothing.index_add(0, ends, messages), largest], 1)
