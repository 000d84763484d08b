"""What is remembered of a target, and what never is."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scenegraph_track.errors import UserError
from scenegraph_track.target.heads import Response
from scenegraph_track.target.labels import gaussian_maps, ltrb_maps
from scenegraph_track.target.memory import (
    MemoryRules,
    TargetMemory,
    Verdict,
    frame_memories,
    memory_tokens,
    second_peaks,
    verdicts,
)

RULES = MemoryRules()
BOX = torch.tensor([8.0, 8, 24, 24])


def features(value: float) -> torch.Tensor:
    return torch.full((3, 4, 4), float(value))


def response(score: torch.Tensor) -> Response:
    return Response(score, score.flatten(1).argmax(1), torch.full((len(score), 4), 0.1))


@given(st.integers(1, 5), st.integers(0, 12))
def test_the_first_view_is_never_dropped_and_the_newest_are_kept(views: int, added: int) -> None:
    memory = TargetMemory.started(features(0), BOX)
    for k in range(1, added + 1):
        memory = memory.added(features(k), BOX + k, views)
    kept = [0, *range(max(1, added + 2 - views), added + 1)] if views > 1 else [0]
    assert memory.features[:, 0, 0, 0].tolist() == kept
    assert memory.boxes[:, 0].tolist() == [8 + k for k in kept]
    assert memory.given.tolist() == [True] + [False] * (len(kept) - 1)


def test_a_view_of_another_grid_is_refused() -> None:
    with pytest.raises(UserError, match="of the shape"):
        TargetMemory.started(features(0), BOX).added(torch.zeros(3, 4, 5), BOX, 3)


def test_memories_side_by_side() -> None:
    short = TargetMemory.started(features(1), BOX)
    long = TargetMemory.started(features(2), BOX).added(features(3), BOX + 2, 3).added(features(4), BOX, 3, given=True)
    tokens = memory_tokens([short, long], 8, 32.0, 0.9)
    assert tokens.valid.tolist() == [[True, False, False], [True] * 3]
    assert tokens.given.tolist() == [[True, False, False], [True, False, True]]
    assert tokens.features[1, 1, 0, 0, 0] == 3 and tokens.features.shape == (2, 3, 3, 4, 4)
    assert torch.equal(tokens.labels[1, 1], gaussian_maps(BOX + 2, (4, 4), 8, 0.9))
    assert torch.equal(tokens.ltrb[0, 0], ltrb_maps(BOX, (4, 4), 8, 32.0))


def test_a_second_peak_is_looked_for_outside_the_neighbourhood() -> None:
    score = torch.zeros(1, 8, 10)
    score[0, 4, 4], score[0, 4, 6], score[0, 0, 9] = 1.0, 0.9, 0.3
    cells = torch.tensor([44])
    assert second_peaks(score, cells, torch.tensor([[2.0, 2.0]])).item() == pytest.approx(0.3)
    assert second_peaks(score, cells, torch.tensor([[1.9, 2.0]])).item() == pytest.approx(0.9)
    assert second_peaks(score, cells, torch.tensor([[99.0, 99.0]])).item() == -torch.inf


def said(peak: float, other: float = 0.0, visibility: float | None = None) -> Verdict:
    score = torch.zeros(1, 16, 16)
    score[0, 8, 8], score[0, 2, 2] = peak, other
    known = None if visibility is None else torch.tensor([visibility])
    return verdicts(response(score), torch.tensor([[24.0, 24.0]]), 8, RULES, known)[0]


def test_what_a_response_says() -> None:
    assert said(0.95) == said(0.95, 0.7) == said(0.95, visibility=0.9) == said(0.95, visibility=float("nan")) == "sure"
    assert said(0.85) == Verdict.UNSURE
    assert said(0.95, 0.8) == Verdict.UNCERTAIN
    assert said(0.95, visibility=0.8) == Verdict.HIDDEN
    assert said(0.2) == said(0.2, 0.2, 0.1) == Verdict.NOT_FOUND


@given(
    st.floats(-0.5, 1.25, width=32), st.floats(-0.5, 1.25, width=32), st.one_of(st.none(), st.floats(0, 1, width=32))
)
def test_uncertain_and_hidden_views_are_never_sure(peak: float, other: float, visibility: float | None) -> None:
    if said(peak, other, visibility) == Verdict.SURE:
        top, second = max(peak, other), min(peak, other)
        assert top > RULES.confident and second <= RULES.distractor * top + 1e-6
        assert visibility is None or visibility >= RULES.visible - 1e-6


def test_a_twin_beside_the_target_counts_once_it_is_out_of_its_neighbourhood() -> None:
    score = torch.zeros(2, 16, 16)
    score[:, 8, 8] = 1.0
    score[0, 8, 11] = score[1, 8, 13] = 0.95  # 3 and 5 cells away, of targets of 24 pixels: 3.3 cells are theirs
    sizes = torch.full((2, 2), 24.0)
    assert verdicts(response(score), sizes, 8, RULES) == [Verdict.SURE, Verdict.UNCERTAIN]


def test_memories_cut_from_the_features_of_a_frame() -> None:
    """Each window shows the cells round its target, with the box where it is in them, and zeros outside the frame."""
    frame = torch.arange(6 * 9).float().view(1, 6, 9) + 1
    boxes = torch.tensor([[32.0, 16, 48, 32], [0, 0, 16, 8]])
    found = frame_memories(frame, boxes, 8, 4)
    assert torch.equal(found[0].features[0], frame[:, 1:5, 3:7])
    assert found[0].boxes[0].tolist() == [8, 8, 24, 24]
    window = found[1].features[0, 0]
    assert not window[:2].any() and torch.equal(window[2:, 1:], frame[0, :2, :3])
    assert found[1].boxes[0].tolist() == [8, 16, 24, 24]
    assert all(memory.given.tolist() == [True] for memory in found)
    beyond = frame_memories(frame, torch.tensor([[500.0, 500, 520, 520]]), 8, 4)[0]
    assert torch.equal(beyond.features[0, 0, :2, :2], frame[0, 4:, 7:]) and not beyond.features[0, 0, 2:].any()
