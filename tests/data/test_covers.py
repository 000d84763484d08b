"""Things that are put in front of clips."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.covers import covered_at, crossed, put, stuck


def images(frames: int = 5) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, (frames, 40, 60, 3), dtype=np.uint8)


def test_what_crosses_covers_exactly_its_mask() -> None:
    before, other = images(), np.full((40, 60, 3), 255, np.uint8)
    after, masks = crossed(np.random.default_rng(3), before, other)
    assert masks.any() and not masks.all()
    assert (after[masks > 0] == 255).all()
    assert np.array_equal(after[masks == 0], before[masks == 0])


def test_points_are_covered_where_the_mask_is() -> None:
    masks = np.zeros((2, 10, 20), np.uint8)
    masks[1, 2:5, 10:15] = 1
    tracks = np.array([[[12.5, 3.5], [12.5, 3.5]], [[12.5, 3.5], [9.9, 3.5]], [[np.nan, np.nan], [14.9, 4.9]]])
    assert covered_at(masks, tracks).tolist() == [[False, True], [False, False], [False, True]]


def test_a_veil_hides_nothing_and_a_block_all_behind_it() -> None:
    masks = np.zeros((5, 40, 60), np.uint8)
    masks[:, 10:20, 10:30] = 1
    before = images()
    solid, hidden = put(np.random.default_rng(0), before, before[0] + 100, masks, veiled=0.0)
    assert np.array_equal(hidden, masks) and (solid != before)[masks > 0].any()
    _, hidden = put(np.random.default_rng(0), before, before[0] + 100, masks, veiled=1.0)
    assert not hidden.any()


def test_a_block_sticks_to_its_object_after_the_first_frame() -> None:
    boxes = np.array([[5 + 3 * t, 8, 25 + 3 * t, 28] for t in range(8)], float)
    shares = []
    for seed in range(40):
        masks = stuck(np.random.default_rng(seed), boxes, 2, (40, 60))
        assert not masks[:3].any() and masks[3:].any()
        inside = [masks[t, 8:28, 5 + 3 * t : 25 + 3 * t].mean() for t in range(3, 8) if masks[t].any()]
        assert np.ptp(inside) < 0.15
        shares.append(np.mean(inside))
    assert max(shares) > 0.95 and min(shares) < 0.4
