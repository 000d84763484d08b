from __future__ import annotations

import numpy as np

from scenegraph_track.data.streams.suppression import Found, overlapping_pairs, survives_nms


def found(boxes: list[list[float]], quality: list[float], frame: list[int] | None = None) -> Found:
    n = len(boxes)
    return Found(np.array(frame or [0] * n), np.array(boxes, float), np.array(quality, float), np.zeros(n, int))


def test_a_box_survives_if_what_covers_it_is_suppressed() -> None:
    # a chain: 0 suppresses 1, so 1 cannot suppress 2
    chain = found([[0, 0, 10, 10], [3, 0, 13, 10], [6, 0, 16, 10]], [3, 2, 1])
    assert survives_nms(chain, 0.4, 1).tolist() == [True, False, True]


def test_frames_do_not_suppress_each_other() -> None:
    twice = found([[0, 0, 10, 10], [0, 0, 10, 10]], [1, 2], [0, 1])
    assert survives_nms(twice, 0.5, 2).all()


def test_equal_boxes_of_equal_quality_leave_one() -> None:
    assert survives_nms(found([[0, 0, 10, 10]] * 3, [1, 1, 1]), 0.5, 1).sum() == 1


def test_nms_agrees_with_the_greedy_loop() -> None:
    rng = np.random.default_rng(1)
    low = rng.uniform(0, 60, (80, 2))
    many = found(np.hstack([low, low + rng.uniform(15, 40, (80, 2))]).tolist(), rng.normal(size=80).tolist())
    a, b = overlapping_pairs(many, 0.3, 1)
    clash = set(zip(a.tolist(), b.tolist(), strict=True))
    kept: list[int] = []
    for i in np.argsort(-many.quality).tolist():
        if all((i, j) not in clash for j in kept):
            kept.append(i)
    assert np.flatnonzero(survives_nms(many, 0.3, 1)).tolist() == sorted(kept)
