"""Visible parts by surfaces through a video, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.surface_net import CELLS
from scenegraph_track.occlusion.surface_tracker import SurfaceState, SurfaceTracker
from tests.occlusion.tiny_points import square_video
from tests.occlusion.tiny_surface import tiny_surface

BOX = torch.tensor([6.0, 12, 22, 28])


def tracker(**options: int) -> SurfaceTracker:
    return SurfaceTracker(tiny_surface(), **options)


def test_every_frame_behind_the_first_is_told_and_the_state_does_not_grow() -> None:
    ours = tracker()
    state, sizes = ours.start(), set()
    for number, image in enumerate(square_video(6)):
        state, parts = ours.step(state, image, {"square": BOX} if number == 0 else None)
        if number == 0:
            assert parts is None
            continue
        assert (parts.start, parts.objects, parts.fraction.shape) == (number - 1, ("square",), (1, 2))
        assert parts.positions.shape == (1, CELLS**2, 2, 2) and parts.visibility.shape == (1, CELLS**2, 2)
        assert ((parts.fraction >= 0) & (parts.fraction <= 1)).all()
        assert parts.maps((12, 12), 4.0).shape == (1, 12, 12)
        sizes.add(sum(value.size for name, value in _arrays(state).items()))
    assert len(sizes) == 1 and ours.finish(state) == (state, None)


def test_forgotten_objects_go_and_others_stay_as_they_are() -> None:
    images, alone, among = square_video(6), tracker(), tracker()
    lone, state = alone.start(), among.start()
    for number, image in enumerate(images):
        lone, one = alone.step(lone, image, {"b": BOX} if number == 2 else None)
        new = {0: {"a": BOX}, 2: {"b": BOX}}.get(number)
        state, parts = among.step(state, image, new, ("a",) if number == 2 else ())
    assert parts.objects == one.objects == ("b",)
    torch.testing.assert_close(parts.fraction, one.fraction)


def test_given_again_an_object_begins_anew() -> None:
    ours, images = tracker(), square_video(3)
    state, _ = ours.step(ours.start(), images[0], {1: BOX})
    state, _ = ours.step(state, images[1], {1: BOX + 2})
    assert state.objects == (1,) and state.given.tolist() == [1]
    torch.testing.assert_close(state.surfaces.pose.middle, torch.tensor([[16.0, 22.0]]))
    assert state.surfaces.age.tolist() == [0]


def test_a_state_goes_on_from_its_arrays() -> None:
    ours, images = tracker(), square_video(5)
    state, _ = ours.step(ours.start(), images[0], {7: BOX})
    state, _ = ours.step(state, images[1])
    again = SurfaceState.from_arrays(state.arrays())
    for image in images[2:]:
        state, one = ours.step(state, image)
        again, two = ours.step(again, image)
        assert torch.equal(one.fraction, two.fraction) and torch.equal(one.positions, two.positions)
    empty = SurfaceState.from_arrays(ours.start().arrays())
    assert empty.objects == () and empty.size is None and empty.surfaces is None


def test_large_images_are_reduced_and_places_are_those_of_the_video() -> None:
    images = square_video(2)
    large = [image.repeat_interleave(4, 1).repeat_interleave(4, 2) for image in images]
    ours = tracker(longest=max(images[0].shape[1:]))
    found = []
    for video, box in ((images, BOX), (large, 4 * BOX)):
        state, _ = ours.step(ours.start(), video[0], {0: box})
        found.append(ours.step(state, video[1])[1])
    torch.testing.assert_close(found[0].fraction, found[1].fraction, atol=1e-3, rtol=0)
    torch.testing.assert_close(4 * found[0].positions, found[1].positions, atol=0.1, rtol=0)


def test_frames_of_another_size_are_refused() -> None:
    ours, image = tracker(), square_video(1)[0]
    state, _ = ours.step(ours.start(), image, {0: BOX})
    with pytest.raises(UserError, match="expected frames of"):
        ours.step(state, image[:, 4:])


def _arrays(state: SurfaceState) -> dict[str, np.ndarray]:
    return SurfaceState(
        state.frames, state.size, state.image, (0,), state.given, state.surfaces, state.places, state.seen
    ).arrays()
