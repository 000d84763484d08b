"""Point tracks land on the same surface, on the same texture, and agree with the flow."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from scenegraph_track.data.worlds.points import grid_queries
from scenegraph_track.errors import UserError


def test_tracks_agree_with_flow_at_pixel_centres(clips):
    worst = 0.0
    for clip in clips:
        queries = grid_queries(2, clip.scene.size, 8)
        queries[:, 1:] = np.floor(queries[:, 1:]) + 0.5
        positions, _ = clip.track_points(queries)
        column, row = queries[:, 1:].astype(int).T
        for other, flow in ((3, clip.frames[2].flow_forward), (1, clip.frames[2].flow_backward)):
            moved = queries[:, 1:] + flow[row, column]
            near = np.abs(moved).max(1) < 400
            worst = max(worst, float(np.nanmax(np.abs(positions[other] - moved)[near])))
    print(f"largest difference between tracks and flow: {worst:.4f} px")
    assert worst < 0.05


def test_a_query_is_its_own_track_in_its_frame(clips):
    rng = np.random.default_rng(0)
    width, height = clips[0].scene.size
    queries = np.column_stack([rng.integers(0, 8, 50), rng.uniform(0, width, 50), rng.uniform(0, height, 50)])
    positions, visible = clips[0].track_points(queries)
    at = queries[:, 0].astype(int), np.arange(50)
    np.testing.assert_allclose(positions[at], queries[:, 1:], atol=2e-3)
    assert visible[at].all()


def test_visible_tracks_stay_on_their_instance_and_texture(clips):
    same, total, colour = 0, 0, []
    for clip in clips:
        queries = grid_queries(0, clip.scene.size, 6)
        positions, visible = clip.track_points(queries)
        column, row = queries[:, 1:].astype(int).T
        start = clip.frames[0].instance[row, column]
        first = cv2.remap(clip.frames[0].image, *(queries[:, None, i] - 0.5 for i in (1, 2)), cv2.INTER_LINEAR)[:, 0]
        steady = clip.frames[0].veil[row, column] == 0
        for t, frame in enumerate(clip.frames[1:4], 1):
            seen = visible[t]
            x, y = positions[t, seen].astype(int).T
            same += (frame.instance[y, x] == start[seen]).sum()
            total += seen.sum()
            seen = seen & steady
            now = cv2.remap(frame.image, *(positions[t, seen][:, None, i] - 0.5 for i in (0, 1)), cv2.INTER_LINEAR)[
                :, 0
            ]
            colour.append(np.abs(now.astype(float) - first[seen]).mean(1))
    colour = np.concatenate(colour)
    print(
        f"visible tracks on their instance: {same / total:.4f}; median colour difference {np.median(colour):.2f} of 255"
    )
    assert same > 0.985 * total
    assert np.median(colour) < 6


def test_hidden_tracks_are_behind_something_nearer_or_outside(clips):
    hidden_inside = 0
    for clip in clips:
        width, height = clip.scene.size
        queries = grid_queries(0, clip.scene.size, 6)
        positions, visible = clip.track_points(queries)
        for t in range(len(clip)):
            place = np.nan_to_num(positions[t], nan=-1)
            inside = (place >= 0).all(1) & (place < [width, height]).all(1)
            assert not (visible[t] & ~inside).any()
            hidden_inside += (inside & ~visible[t]).sum()
    assert hidden_inside > 10


@pytest.mark.parametrize(
    "query",
    [[8, 1, 1], [0, 160, 1], [0, -0.1, 1], [0.5, 1, 1]],
    ids=["frame after the end", "right of the image", "left of it", "between frames"],
)
def test_queries_outside_the_clip_are_refused(clips, query):
    with pytest.raises(UserError, match="row 0"):
        clips[0].track_points(np.array([query], float))
