"""Visible parts through a video, frame by frame."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.visibility import VisibilityTracker
from tests.occlusion.tiny_points import square_video, tiny_net, tiny_solver

BOX = torch.tensor([6.0, 12, 22, 28])


def tracker(**options: int) -> VisibilityTracker:
    return VisibilityTracker(tiny_net(), tiny_solver(), count=5, **options)


def test_parts_come_every_stride_frames_and_at_the_end() -> None:
    ours = tracker()
    state, starts = ours.start(), []
    for number, image in enumerate(square_video(5)):
        state, parts = ours.step(state, image, {"square": BOX} if number == 0 else None)
        starts.append(None if parts is None else (parts.start, parts.fraction.shape[1]))
    assert starts == [None, (0, 2), None, (0, 4), None]
    state, parts = ours.finish(state)
    assert (parts.start, parts.fraction.shape) == (1, (1, 4))
    assert parts.positions.shape == (1, 5, 4, 2) and parts.visibility.shape == (1, 5, 4)
    assert ours.finish(state)[1] is None


def test_without_delay_every_frame_is_told_and_the_state_does_not_grow() -> None:
    ours = tracker(stride=1)
    state, sizes = ours.start(), set()
    for number, image in enumerate(square_video(8)):
        state, parts = ours.step(state, image, {"square": BOX} if number == 0 else None)
        assert parts.start + parts.fraction.shape[1] == number + 1
        if number >= 4:
            sizes.add((len(state.points.features), len(state.points.flows), state.points.supposed.positions.numel()))
    assert len(sizes) == 1


def test_objects_that_come_later_are_unknown_before() -> None:
    ours = tracker()
    state = ours.start()
    for number, image in enumerate(square_video(4)):
        new = {0: {"a": BOX}, 2: {"b": BOX + 4}}.get(number)
        state, parts = ours.step(state, image, new)
    assert parts.objects == ("a", "b")
    assert parts.fraction[0].isfinite().all()
    assert parts.fraction[1].isnan().tolist() == [True, True, False, False]
    assert parts.positions[1, :, :2].isnan().all() and parts.positions[1, :, 2:].isfinite().all()


def test_forgotten_objects_go_and_others_stay_as_they_are() -> None:
    """What is told of an object does not depend on whether another one was followed before it was forgotten."""
    images, alone, among = square_video(6), tracker(), tracker()
    lone, state = alone.start(), among.start()
    for number, image in enumerate(images):
        lone, one = alone.step(lone, image, {"b": BOX} if number == 2 else None)
        new = {0: {"a": BOX}, 2: {"b": BOX}}.get(number)
        state, parts = among.step(state, image, new, ("a",) if number == 2 else ())
    assert parts.objects == one.objects == ("b",)
    torch.testing.assert_close(parts.fraction, one.fraction, equal_nan=True)


def test_given_again_an_object_gets_new_points() -> None:
    ours = tracker(stride=1)
    state, images = ours.start(), square_video(3)
    state, _ = ours.step(state, images[0], {"a": BOX})
    state, parts = ours.step(state, images[1], {"a": BOX + 2})
    assert parts.objects == ("a",) and len(state.points.queries) == 5
    assert state.given.tolist() == [1]


def test_maps_show_where_the_points_are_seen() -> None:
    ours = tracker(stride=1)
    _, parts = ours.step(ours.start(), square_video(1)[0], {"square": BOX})
    maps = parts.maps((12, 12), 4.0)
    assert maps.shape == (1, 12, 12)
    inside = maps[0, 3:7, 1:6].sum()
    assert inside > 0.8 * maps.sum() > 0


def test_a_box_outside_the_image_is_cut_at_it() -> None:
    ours = tracker(stride=1)
    _, parts = ours.step(ours.start(), square_video(1)[0], {"a": torch.tensor([-20.0, -20, 10, 10])})
    assert (parts.positions >= 0).all()


def test_frames_of_another_size_are_refused() -> None:
    ours = tracker()
    state, _ = ours.step(ours.start(), square_video(1)[0])
    with pytest.raises(UserError, match="expected frames of 48 x 48"):
        ours.step(state, torch.zeros(3, 40, 48, dtype=torch.uint8))
