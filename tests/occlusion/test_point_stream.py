"""Tracks of a stream in order."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from scenegraph_track.occlusion.point_net import PointNet
from scenegraph_track.occlusion.point_stream import final_tracks
from scenegraph_track.occlusion.point_tracker import PointTracker

GIVEN = {2: torch.tensor([[20.0, 15.0], [30.0, 20.0]]), 5: torch.tensor([[40.0, 30.0]])}
QUERIES = torch.tensor([[2.0, 20.0, 15.0], [2.0, 30.0, 20.0], [5.0, 40.0, 30.0]])


@pytest.mark.parametrize("stride", [1, 3])
def test_every_frame_once_as_in_a_whole_video(net: PointNet, moving: list[Tensor], stride: int) -> None:
    tracker = PointTracker(net, stride)
    found = list(final_tracks(tracker, moving, GIVEN.get))
    assert [tracks.start for tracks in found] == list(range(len(moving)))
    assert len(found[-1].positions) == 3
    whole = tracker.track(moving, QUERIES)
    for t, tracks in enumerate(found):
        count = len(tracks.positions)
        assert torch.equal(tracks.positions[:, 0].nan_to_num(-1), whole.positions[:count, t].nan_to_num(-1))
        assert torch.equal(tracks.visibility[:, 0], whole.visibility[:count, t])


@pytest.mark.parametrize("given", [GIVEN, {}])
def test_frames_come_as_soon_as_they_are_final(net: PointNet, moving: list[Tensor], given: dict[int, Tensor]) -> None:
    # No more of them wait than a window has, also where there is no point yet.
    read = 0

    def counted() -> Iterator[Tensor]:
        nonlocal read
        for image in moving:
            read += 1
            yield image

    for tracks in final_tracks(PointTracker(net), counted(), given.get):
        assert read - tracks.start <= net.settings.window + 1
    assert read == len(moving)
