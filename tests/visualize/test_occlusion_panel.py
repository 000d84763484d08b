"""The picture of one occlusion."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.structures import RELATIONS, ObjectState, SceneGraph
from scenegraph_track.visualize.colors import RELATION_COLORS
from scenegraph_track.visualize.occlusion_panel import CUE_COLORS, Occlusion, find_occlusion, occlusion_picture

HIDDEN = range(3, 7)


def scene(t: int, cue: tuple[float, ...] = (0.6, 0.3, 0, 0, 0.1)) -> SceneGraph:
    """Object 1 stands, object 2 walks behind it."""
    hidden = t in HIDDEN
    nodes = {
        "track_id": np.array([1, 2]),
        "box": np.array([[150.0, 60, 210, 180], [90 + 15 * t, 80, 120 + 15 * t, 160]]),
        "box_std": np.full((2, 4), 6.0),
        "state": np.array([ObjectState.VISIBLE, ObjectState.HIDDEN if hidden else ObjectState.VISIBLE]),
        "hidden_for": np.array([0.0, 0.1 * (t - 2) if hidden else 0.0]),
        "hidden_by": np.array([0, 1 if hidden else 0]),
    }
    kept = [0] if hidden or t == 0 else [0, 1]
    becomes = {
        "edge_index": np.array([kept, kept]),
        "probability": np.full(len(kept), 0.9),
        "cue": np.tile(cue, (len(kept), 1)),
        "gap": np.full(len(kept), 0.1),
    }
    relation = np.zeros((1, len(RELATIONS)))
    relation[0, 0] = 0.9 if hidden else 0.1
    relates = {"edge_index": np.array([[0], [1]]), "relation": relation, "adjacency": np.ones(1)}
    return SceneGraph.build(t, t / 10, nodes, relates, becomes)


def holds(image: np.ndarray, color: tuple[int, int, int]) -> int:
    return int((np.abs(image.astype(int) - np.asarray(color, int)).max(-1) <= 8).sum())


def test_the_occlusion_is_found_with_what_hid_the_object() -> None:
    scenes = [scene(t) for t in range(10)]
    assert find_occlusion(scenes) == Occlusion(2, 1, 2, 4, 7)
    assert find_occlusion(scenes[:5]) is None and find_occlusion([]) is None


@pytest.mark.parametrize("width", [600, 1500])
def test_the_picture_shows_cues_and_what_hides(width: int) -> None:
    scenes, image = [scene(t) for t in range(10)], np.full((240, 320, 3), 90, np.uint8)
    found = find_occlusion(scenes)
    picture = occlusion_picture(scenes, [image] * 3, found, width)
    assert abs(picture.shape[1] - width) < 20 and picture.dtype == np.uint8
    legend = occlusion_picture([scene(t, (0, 0, 0, 1, 0)) for t in range(10)], [image] * 3, found, width)
    assert holds(picture, CUE_COLORS["motion"]) > holds(legend, CUE_COLORS["motion"]) + 100
    assert holds(legend, CUE_COLORS["depth"]) > holds(picture, CUE_COLORS["depth"]) + 100
    columns = np.array_split(picture, 3, axis=1)
    counts = [holds(column, RELATION_COLORS["occludes"]) for column in columns]
    assert counts[1] > 20 > max(counts[0], counts[2])
