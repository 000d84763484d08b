"""Visible parts of tracks in the scene graph, by their surfaces and by points on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.config import OcclusionSettings, load_config
from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.surface_tracker import SurfaceTracker
from scenegraph_track.occlusion.visibility import VisibilityTracker
from scenegraph_track.structures import Detections, Frame, TrackerState
from scenegraph_track.tracking import visible_parts
from scenegraph_track.tracking.tracker import Tracker
from scenegraph_track.tracking.visible_parts import VisibleTracks
from tests.occlusion.tiny_points import square_video, tiny_net, tiny_solver
from tests.occlusion.tiny_surface import tiny_surface

SETTINGS = OcclusionSettings(weights="embedded", points=4, stride=1, renew=3, clear=0.0)


@pytest.fixture(params=["surface", "points"])
def tracks(request: pytest.FixtureRequest) -> VisibleTracks:
    if request.param == "surface":
        return VisibleTracks(SurfaceTracker(tiny_surface()), SETTINGS)
    return VisibleTracks(VisibilityTracker(tiny_net(), tiny_solver(), count=4, stride=1), SETTINGS)


@pytest.fixture
def tracker(tracks: VisibleTracks, monkeypatch: pytest.MonkeyPatch) -> Tracker:
    monkeypatch.setattr(visible_parts.VisibleTracks, "load", classmethod(lambda cls, settings: tracks))
    return Tracker(load_config("reference", ["tracker.occlusion.weights=embedded", "tracker.motion.camera=false"]))


def frame(number: int, image: torch.Tensor) -> Frame:
    return Frame(number, number / 10, image.float() / 255)


def detections(number: int) -> Detections:
    box = torch.tensor([[6.0 + 2 * number, 12, 22 + 2 * number, 28]])
    return Detections(box, torch.ones(1))


def test_nodes_show_what_is_told(tracker: Tracker) -> None:
    """In the first frame nothing has been looked at yet, which goes by boxes; later ones tell what was seen."""
    state, shown = tracker.start(), []
    for number, image in enumerate(square_video(4)):
        state, scene = tracker.step(state, frame(number, image), detections(number))
        shown.append(float(scene.visibility[0]))
    assert shown[0] == 1.0
    assert all(0 < value < 1 for value in shown[1:])


def test_a_saved_state_goes_on_the_same(tracker: Tracker, tmp_path: Path) -> None:
    state = tracker.start()
    for number, image in enumerate(square_video(6)):
        if number == 3:
            state.save(tmp_path / "state")
            other = TrackerState.load(tmp_path / "state")
            assert other == state
        state, scene = tracker.step(state, frame(number, image), detections(number))
        if number >= 3:
            other, again = tracker.step(other, frame(number, image), detections(number))
            assert torch.equal(again.visibility, scene.visibility) and other == state


def test_tracks_that_left_are_forgotten_and_renewed_ones_are_given_anew(tracks: VisibleTracks) -> None:
    carried: dict[str, np.ndarray] = {}
    boxes, both = np.array([[6.0, 12, 22, 28], [24, 20, 40, 40]]), np.array([7, 9])
    for number, image in enumerate(square_video(5)):
        kept = slice(None) if number < 2 else slice(0, 1)
        nodes = {"track_id": both[kept], "box": boxes[kept], "state": np.zeros(2, int)[kept]}
        carried, parts = tracks.step(carried, frame(number, image), nodes)
        assert parts.shape == (2 if number < 2 else 1,)
        assert np.isnan(parts).all() == (number == 0)
    state = tracks.tracker.restored(carried)
    assert state.objects == (7,) and state.given.tolist() == [3]


@pytest.mark.parametrize("by", ["surface", "points"])
def test_weights_that_are_not_there_are_named(by: str) -> None:
    with pytest.raises(UserError, match="nowhere"):
        VisibleTracks.load(OcclusionSettings(weights="nowhere.safetensors", by=by))


@pytest.mark.parametrize(("by", "kind"), [("surface", SurfaceTracker), ("points", VisibilityTracker)])
def test_what_ships_is_of_the_kind_that_is_asked_for(by: str, kind: type) -> None:
    tracks = VisibleTracks.load(OcclusionSettings(weights="embedded", by=by, points=5, stride=3))
    assert isinstance(tracks.tracker, kind)
    assert by == "surface" or (tracks.tracker.count, tracks.tracker.tracker.stride) == (5, 3)
