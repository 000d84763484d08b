"""The graph through time: a state for each track, kept while its object is hidden, and found again afterwards."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from scenegraph_track.graph.constructor import ConstructedGraph
from scenegraph_track.graph.message_passing import total
from scenegraph_track.graph.motion import MOTION, Motion, hiding, inside_part, motion_features
from scenegraph_track.structures import ObjectState

_SEEN_STD, _GROWTH = 0.05, 0.3
_DECAY = 2.0
_INSIDE = 0.25
_BLEND = 0.1


@dataclass(frozen=True)
class EvolvingState:
    """What is known of N tracks; a value, never changed in place.

    Args:
        ids: (N,) int64 from 1.
        hidden: (N, D) recurrent states.
        boxes: (N, 4) xyxy pixels; where nothing was matched, the expected box with the learned correction.
        expected: (N, 4) the same without the correction.
        height: (N,) of the last box that was matched, pixels.
        velocity: (N, 4) of the boxes' sides, pixels per second.
        std: (N, 4) standard deviation of centre x, centre y, width and height, pixels.
        visibility: (N,) in [0, 1].
        away: (N,) seconds since last matched.
        left: (N,) logit that an unmatched object is outside the image rather than hidden.
        state: (N,) of `ObjectState`.
        appearance: (N, A) mean unit appearance, zeros where unknown.
        hidden_by: (N,) row of the track that hides it, -1 where none does.
        hidden_part: (N,) how much of its box that one covers.
        next_id: The identity that the next track gets.
    """

    ids: Tensor
    hidden: Tensor
    boxes: Tensor
    expected: Tensor
    height: Tensor
    velocity: Tensor
    std: Tensor
    visibility: Tensor
    away: Tensor
    left: Tensor
    state: Tensor
    appearance: Tensor
    hidden_by: Tensor
    hidden_part: Tensor
    next_id: int

    def __len__(self) -> int:
        return len(self.ids)


class EvolvingSceneGraph(nn.Module):
    r"""Carries a scene graph from frame to frame (object permanence); modules hold no state of a sequence.

    Each track has a GRU state (the deck's temporal edge).  Its input is the node of what was matched and the messages
    that it got from its neighbours, weighted by adjacency, or else the node that stands where the track is expected,
    and in both cases how it moved.  A track without match keeps its node: where a model of motion expects the box
    :math:`b` with the deviation :math:`\sigma`, it is at :math:`b + \sigma c`, with the deviation
    :math:`\sigma \exp(l / 2)`, where :math:`c` and :math:`l` are learned and begin at zero.  So does what is learned
    about whether it is hidden or has left, beside the rule that it has left once three quarters of the expected box are
    outside the image.

    Args:
        node_dim: Width of nodes and of the states.
        appearance_dim: Width of the appearance vectors, 0 without any.
    """

    def __init__(self, node_dim: int = 64, appearance_dim: int = 0) -> None:
        super().__init__()
        self.node_dim, self.appearance_dim = node_dim, appearance_dim
        self.neighbour = nn.Linear(node_dim, node_dim)
        self.cell = nn.GRUCell(2 * node_dim + MOTION, node_dim)
        self.absent = nn.Sequential(nn.Linear(node_dim + MOTION, node_dim), nn.ReLU(), nn.Linear(node_dim, 9))
        nn.init.zeros_(self.absent[-1].weight)
        nn.init.zeros_(self.absent[-1].bias)

    def start(self, device: torch.device | str = "cpu") -> EvolvingState:
        """No tracks at all."""
        number = torch.zeros(0, dtype=torch.int64, device=device)
        value = torch.zeros(0, device=device)
        wide = {"hidden": self.node_dim, "appearance": self.appearance_dim}
        wide |= dict.fromkeys(("boxes", "expected", "velocity", "std"), 4)
        return EvolvingState(
            **dict.fromkeys(("ids", "state", "hidden_by"), number),
            **{name: torch.zeros(0, width, device=device) for name, width in wide.items()},
            **dict.fromkeys(("height", "visibility", "away", "left", "hidden_part"), value),
            next_id=1,
        )

    def forward(
        self,
        state: EvolvingState,
        graph: ConstructedGraph,
        boxes: Tensor,
        matched: Tensor,
        seconds: float,
        size: tuple[int, int],
        appearance: Tensor | None = None,
        places: Tensor | None = None,
        motion: Motion | None = None,
    ) -> EvolvingState:
        """One frame.

        Args:
            state: Before.
            graph: Of K objects (`SceneGraphConstructor`): the detections, and perhaps the places of unmatched tracks.
            boxes: (K, 4) xyxy pixels.
            matched: (N,) row of each track's detection, -1 where there is none; rows that no track has, nor as its
                place, start tracks of their own.
            seconds: Since the last frame.
            size: (W, H) pixels.
            appearance: (K, appearance_dim) or None.
            places: (N,) row that stands where each unmatched track is expected, -1 where there is none; None: nowhere.
            motion: Where the caller expects the tracks, moved with the camera; None: `expect`.

        Returns:
            The next state, newborn tracks last.
        """
        motion = self.expect(state, seconds) if motion is None else motion
        places = torch.full_like(matched, -1) if places is None else places
        free = torch.ones(boxes.shape[0] + 1, dtype=torch.bool, device=boxes.device)
        free[matched], free[places] = False, False
        born = free[:-1].nonzero()[:, 0]
        old = self._joined(state, born.shape[0])
        matched = torch.cat([matched, born])
        expected = torch.cat([motion.expected, boxes[born]])
        velocity = torch.cat([motion.velocity, torch.zeros_like(boxes[born])])
        std = torch.cat([motion.std, _SEEN_STD * (boxes[born, 3:] - boxes[born, 1:2]).expand(-1, 4)])

        seen = matched >= 0
        there = torch.where(seen[:, None], _rows(boxes, matched), expected)
        away = torch.where(seen, 0.0, old.away + seconds)
        height = torch.where(seen, there[:, 3] - there[:, 1], old.height)
        covered, hidden_by = hiding(there, seen)
        inside = inside_part(there, boxes.new_tensor(size))
        moved = Motion(expected, velocity, std)
        told = motion_features(moved, there, height, away, torch.full_like(away, seconds), inside, covered)
        rows = torch.where(seen, matched, torch.cat([places, born]))
        hidden = self.remember(old.hidden, _rows(torch.cat([graph.nodes, self.messages(graph)], 1), rows), told)
        guessed, deviation, left = self.guess(hidden, told, moved, height, inside)

        looks = boxes.new_zeros(boxes.shape[0], self.appearance_dim) if appearance is None else _unit(appearance)
        alike = _unit((1 - _BLEND) * old.appearance + _BLEND * _rows(looks, matched))
        surprise = (there - expected) / (old.away + seconds).clamp(min=1e-3)[:, None]
        unseen = torch.where(left > 0, int(ObjectState.LEFT), int(ObjectState.HIDDEN))
        return replace(
            old,
            hidden=hidden,
            boxes=torch.where(seen[:, None], there, guessed),
            expected=there,
            height=height,
            velocity=velocity + 0.3 * surprise,
            std=torch.where(seen[:, None], _SEEN_STD * height[:, None], deviation),
            visibility=torch.where(seen, 1.0, old.visibility * math.exp(-_DECAY * seconds)),
            away=away,
            left=left,
            state=torch.where(seen, int(ObjectState.VISIBLE), unseen),
            appearance=torch.where(seen[:, None], alike, old.appearance),
            hidden_by=hidden_by,
            hidden_part=covered,
        )

    def expect(self, state: EvolvingState, seconds: float) -> Motion:
        """Where the tracks are after some seconds, by their velocity."""
        std = (_SEEN_STD + _GROWTH * (state.away + seconds)) * state.height
        return Motion(state.expected + seconds * state.velocity, state.velocity, std[:, None].expand(-1, 4))

    def messages(self, graph: ConstructedGraph) -> Tensor:
        """(K, node_dim) what the nodes hear from their neighbours, weighted by adjacency."""
        said = graph.adjacency[:, None] * self.neighbour(graph.nodes)[graph.edge_index[0]]
        return total(said, graph.edge_index[1], graph.nodes.shape[0])

    def remember(self, hidden: Tensor, found: Tensor, motion: Tensor) -> Tensor:
        """The states (N, D) after a frame, from those before, nodes with messages (N, 2 D), and `motion_features`."""
        return self.cell(torch.cat([found, motion], 1), hidden)

    def guess(
        self, hidden: Tensor, told: Tensor, motion: Motion, height: Tensor, inside: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of unmatched tracks: boxes (..., 4), their deviation (..., 4), and the logit of having left (...), see above.

        Args:
            hidden: (..., D) states after the frame.
            told: (..., MOTION) of `motion_features`.
            motion: What is expected.
            height: (...) of the last detections, pixels.
            inside: (...) part of the expected box in the image.
        """
        learned = self.absent(torch.cat([hidden, told], -1))
        shift = learned[..., :4] * motion.std
        middle = (motion.expected[..., :2] + motion.expected[..., 2:]) / 2 + shift[..., :2]
        extent = motion.expected[..., 2:] - motion.expected[..., :2] + shift[..., 2:]
        half = torch.maximum(extent, 0.1 * height.clamp(min=1.0)[..., None]) / 2
        rule = ((_INSIDE - inside) / 0.05).clamp(-3, 3)
        deviation = motion.std * (learned[..., 4:8] / 2).exp()
        return torch.cat([middle - half, middle + half], -1), deviation, rule + learned[..., 8]

    def _joined(self, state: EvolvingState, count: int) -> EvolvingState:
        """The tracks and so many newborn ones, about which nothing is known yet."""
        blank = {
            name: torch.cat([value, value.new_zeros(count, *value.shape[1:])])
            for name, value in vars(state).items()
            if name != "next_id"
        }
        blank["ids"] = torch.cat([state.ids, state.next_id + torch.arange(count, device=state.ids.device)])
        return EvolvingState(**blank, next_id=state.next_id + count)


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


def _rows(values: Tensor, rows: Tensor) -> Tensor:
    """The rows of a table, zeros for row -1."""
    return torch.cat([values.new_zeros(1, values.shape[1]), values]).index_select(0, rows + 1)


def _unit(vectors: Tensor) -> Tensor:
    return vectors / vectors.norm(dim=1, keepdim=True).clamp(min=1e-9)
