from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scenegraph_track.data.streams import Stream, simulate
from scenegraph_track.errors import UserError


@pytest.fixture(scope="module")
def stream() -> Stream:
    return simulate("street", 1, frames=20)


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("truth_boxes", lambda v: v[:, :3]),  # a wrong shape
        ("truth_boxes", lambda v: v[:, [2, 1, 0, 3]]),  # x1 and x2 swapped
        ("det_scores", lambda v: v * np.nan),  # not a number
        ("truth_visibility", lambda v: v + 1),  # out of range
        ("truth_depth", lambda v: -v),  # behind the camera
        ("truth_frame", lambda v: v[::-1]),  # not sorted
        ("det_frame", lambda v: v + 100),  # beyond the last frame
        ("truth_id", lambda v: v * 0),  # ids start at 1
        ("camera_from_previous", lambda v: v[1:]),  # a frame is missing
    ],
)
def test_validation_names_the_field(stream: Stream, field: str, change) -> None:
    with pytest.raises(UserError, match=f"Stream.{field}"):
        dataclasses.replace(stream, **{field: change(getattr(stream, field))})


def test_a_stream_cannot_be_changed(stream: Stream) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        stream.frames = 3
