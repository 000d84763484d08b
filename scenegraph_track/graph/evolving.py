"""The graph through time: a state for each track, kept while its object is hidden, and found again afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from scenegraph_track.graph.message_passing import total
from scenegraph_track.structures import ObjectState

HIDDEN_SECONDS = 2.0
"""A hidden object that nothing covers is taken to have left after so long."""

_SEEN = -6.0
"""Logarithm of the variance of a box that was just detected."""

_DECAY = 2.0
_BLEND = 0.1


@dataclass(frozen=True)
class EvolvingState:
    """What is known of N tracks; a value, never changed in place.

    Args:
        ids: (N,) int64 from 1.
        hidden: (N, D) recurrent states.
        boxes: (N, 4) xyxy pixels, predicted where nothing was matched.
        velocity: (N, 4) of the boxes' sides, pixels per second.
        log_variance: (N,) logarithm of the variance of a box's sides in heights.
        visibility: (N,) in [0, 1].
        away: (N,) seconds since last matched.
        state: (N,) of `ObjectState`.
        appearance: (N, A) mean unit appearance, zeros where unknown.
        hidden_by: (N,) row of the track that hides it, -1 where none does.
        hidden_part: (N,) how much of its box that one covers.
        next_id: The identity that the next track gets.
    """

    ids: Tensor
    hidden: Tensor
    boxes: Tensor
    velocity: Tensor
    log_variance: Tensor
    visibility: Tensor
    away: Tensor
    state: Tensor
    appearance: Tensor
    hidden_by: Tensor
    hidden_part: Tensor
    next_id: int

    def __len__(self) -> int:
        return len(self.ids)


class EvolvingSceneGraph(nn.Module):
    """Carries a scene graph from frame to frame (object permanence); modules hold no state of a sequence.

    Each track has a GRU state (the deck's temporal edge).  Where it was matched the input is its detection's node, else
    nothing but the time that passed; messages from neighbours, weighted by adjacency, come in both cases.  A track
    without match keeps its node: its box moves on by its velocity and a learned correction that begins at zero, its
    variance grows, and its visibility decays.  It is *hidden* while something covers it, or for a short while, and has
    *left* once it is outside the image or should long be seen.

    Args:
        node_dim: Width of nodes and of the states.
        appearance_dim: Width of the appearance vectors, 0 without any.
    """

    def __init__(self, node_dim: int = 64, appearance_dim: int = 0) -> None:
        super().__init__()
        self.node_dim, self.appearance_dim = node_dim, appearance_dim
        self.neighbour = nn.Linear(node_dim, node_dim)
        self.cell = nn.GRUCell(2 * node_dim + 2, node_dim)
        self.drift = nn.Linear(node_dim, 5)
        nn.init.zeros_(self.drift.weight)
        nn.init.zeros_(self.drift.bias)

    def start(self, device: torch.device | str = "cpu") -> EvolvingState:
        """No tracks at all."""
        number = torch.zeros(0, dtype=torch.int64, device=device)
        value = torch.zeros(0, device=device)
        wide = {"hidden": self.node_dim, "boxes": 4, "velocity": 4, "appearance": self.appearance_dim}
        return EvolvingState(
            **dict.fromkeys(("ids", "state", "hidden_by"), number),
            **{name: torch.zeros(0, width, device=device) for name, width in wide.items()},
            **dict.fromkeys(("log_variance", "visibility", "away", "hidden_part"), value),
            next_id=1,
        )

    def forward(
        self,
        state: EvolvingState,
        nodes: Tensor,
        boxes: Tensor,
        matched: Tensor,
        seconds: float,
        size: tuple[int, int],
        appearance: Tensor | None = None,
        edge_index: Tensor | None = None,
        adjacency: Tensor | None = None,
    ) -> EvolvingState:
        """One frame.

        Args:
            state: Before.
            nodes: (M, node_dim) embeddings of the detections (`SceneGraphConstructor`).
            boxes: (M, 4) xyxy pixels.
            matched: (N,) row of each track's detection, -1 where there is none; detections that no track has start
                tracks of their own.
            seconds: Since the last frame.
            size: (W, H) pixels.
            appearance: (M, appearance_dim) or None.
            edge_index: (2, E) spatial edges between detections, None without.
            adjacency: (E,) their weights.

        Returns:
            The next state, newborn tracks last.
        """
        said = torch.zeros_like(nodes)
        if edge_index is not None and adjacency is not None:
            said = total(adjacency[:, None] * self.neighbour(nodes)[edge_index[0]], edge_index[1], nodes.shape[0])
        seen = matched >= 0
        moved = _next_boxes(state, self.drift(state.hidden), seconds)
        found = _matched(torch.cat([nodes, said], 1), matched)
        time = torch.full_like(state.away, seconds)
        hidden = self.cell(torch.cat([found, seen.to(nodes)[:, None], time[:, None]], 1), state.hidden)
        there = _matched(boxes, matched)
        turned = state.velocity + 0.3 * (there - moved.boxes) / (state.away + seconds).clamp(min=1e-3)[:, None]
        looks = boxes.new_zeros(boxes.shape[0], self.appearance_dim) if appearance is None else _unit(appearance)
        alike = state.appearance
        if appearance is not None:
            alike = _unit((1 - _BLEND) * alike + _BLEND * _matched(looks, matched))
        old = replace(
            state,
            hidden=hidden,
            boxes=torch.where(seen[:, None], there, moved.boxes),
            velocity=torch.where(seen[:, None], turned, state.velocity),
            log_variance=torch.where(seen, torch.full_like(moved.log_variance, _SEEN), moved.log_variance),
            visibility=torch.where(seen, torch.ones_like(state.visibility), moved.visibility),
            away=torch.where(seen, torch.zeros_like(state.away), state.away + seconds),
            appearance=torch.where(seen[:, None], alike, state.appearance),
        )
        return _explained(self._born(old, nodes, said, boxes, looks, matched), size)

    def _born(
        self,
        old: EvolvingState,
        nodes: Tensor,
        said: Tensor,
        boxes: Tensor,
        looks: Tensor,
        matched: Tensor,
    ) -> EvolvingState:
        free = torch.ones(boxes.shape[0] + 1, dtype=torch.bool, device=boxes.device)
        free[matched] = False
        rows = free[:-1].nonzero()[:, 0]
        count = rows.shape[0]
        flags = nodes.new_tensor([1.0, 0.0]).expand(count, 2)
        first = self.cell(torch.cat([nodes[rows], said[rows], flags], 1), nodes.new_zeros(count, self.node_dim))
        born = {
            "ids": old.next_id + torch.arange(count, device=boxes.device),
            "hidden": first,
            "boxes": boxes[rows],
            "velocity": torch.zeros_like(boxes[rows]),
            "log_variance": boxes.new_full((count,), _SEEN),
            "visibility": boxes.new_ones(count),
            "away": boxes.new_zeros(count),
            "state": rows.new_zeros(count),
            "appearance": looks[rows],
            "hidden_by": rows.new_full((count,), -1),
            "hidden_part": boxes.new_zeros(count),
        }
        joined = {name: torch.cat([getattr(old, name), value]) for name, value in born.items()}
        return replace(old, **joined, next_id=old.next_id + count)


def _next_boxes(state: EvolvingState, drift: Tensor, seconds: float) -> EvolvingState:
    """Boxes, variance and visibility of tracks that nothing was matched to."""
    height = (state.boxes[:, 3] - state.boxes[:, 1]).clamp(min=1.0)
    boxes = state.boxes + seconds * (state.velocity + drift[:, :4] * height[:, None])
    growth = nn.functional.softplus(drift[:, 4] - 2) * (state.away + seconds) * seconds
    return replace(
        state,
        boxes=boxes,
        log_variance=(state.log_variance.exp() + growth).log(),
        visibility=state.visibility * math.exp(-_DECAY * seconds),
    )


def _explained(state: EvolvingState, size: tuple[int, int]) -> EvolvingState:
    """What hides each unseen track, and whether it is hidden or has left."""
    boxes, seen = state.boxes.detach(), state.away == 0
    area = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).prod(1)
    rows = (~seen).nonzero()[:, 0]
    a, b = boxes[rows, None], boxes[None]
    shared = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).prod(2)
    front = seen[None] & (b[..., 3] > a[..., 3])
    covered = torch.where(front, shared / area[rows, None], shared.new_zeros(()))
    covered, by = torch.cat([covered, covered.new_zeros(rows.shape[0], 1)], 1).max(1)  # the last column is nothing
    hidden_by = torch.full_like(state.ids, -1).index_copy(0, rows, torch.where(covered > 0, by, -1))
    part = torch.zeros_like(state.hidden_part).index_copy(0, rows, covered)
    inside = torch.minimum(boxes, boxes.new_tensor([*size, *size])).clamp(min=0)
    within = (inside[:, 2:] - inside[:, :2]).clamp(min=0).prod(1) / area
    gone = ~seen & ((within < 0.25) | ((state.away > HIDDEN_SECONDS) & (part < 0.25)))
    gone |= ~seen & (state.state == int(ObjectState.LEFT))
    number = torch.where(
        seen, int(ObjectState.VISIBLE), torch.where(gone, int(ObjectState.LEFT), int(ObjectState.HIDDEN))
    )
    return replace(state, state=number, hidden_by=hidden_by, hidden_part=part)


def reidentify(
    state: EvolvingState, boxes: Tensor, appearance: Tensor, free: Tensor, least: float = 0.6, speed: float = 3.0
) -> Tensor:
    """Which unseen track each detection that nothing claimed could be, by looks and reach; live tracks are never asked.

    Args:
        state: The tracks, long unseen ones among them.
        boxes: (M, 4) detections, xyxy pixels.
        appearance: (M, A).
        free: (M,) bool, detections that no live track has.
        least: Cosine that is needed.
        speed: Heights per second that an object may have come.

    Returns:
        (N,) row of the detection of each track, -1 for none; one to one.
    """
    matched = torch.full_like(state.ids, -1)
    rows = ((state.away > 0) & state.appearance.any(1)).nonzero()[:, 0]
    columns = free.nonzero()[:, 0]
    if len(rows) == 0 or len(columns) == 0:
        return matched
    cosine = state.appearance[rows] @ _unit(appearance[columns]).T
    middle, other = (state.boxes[rows, :2] + state.boxes[rows, 2:]) / 2, (boxes[columns, :2] + boxes[columns, 2:]) / 2
    height = (state.boxes[rows, 3] - state.boxes[rows, 1]).clamp(min=1.0)
    reach = (1 + speed * state.away[rows]) * height
    gain = torch.where(torch.cdist(middle, other) < reach[:, None], cosine, torch.full_like(cosine, -1.0)).detach()
    gain = torch.where(gain > least, gain, torch.zeros_like(gain)).cpu().numpy()
    i, j = linear_sum_assignment(-gain)
    kept = gain[i, j] > 0
    matched[rows[torch.from_numpy(i[kept])]] = columns[torch.from_numpy(j[kept])]
    return matched


def _matched(values: Tensor, matched: Tensor) -> Tensor:
    """The rows that are matched, zeros where there is none."""
    return torch.cat([values.new_zeros(1, values.shape[1]), values]).index_select(0, matched + 1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-9)
