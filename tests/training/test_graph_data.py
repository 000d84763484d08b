"""Pieces of simulated streams that the graph tracker learns on."""

from __future__ import annotations

import numpy as np

from scenegraph_track.training.graph_data import FALSE, GraphData, make_clip


def test_a_clip_follows_from_its_generator_and_has_what_was_asked_for() -> None:
    data = GraphData(warm_up=6, frames=4, depth=1.0, appearance=1.0)
    a, b, other = (make_clip(np.random.default_rng(seed), data) for seed in (5, 5, 6))
    assert len(a.moments) == a.warm_up + 4 and a.warm_up == b.warm_up and a.settings == b.settings
    assert not np.array_equal(a.moments[0].boxes, other.moments[0].boxes)
    for mine, same in zip(a.moments, b.moments, strict=True):
        assert np.array_equal(mine.boxes, same.boxes) and np.array_equal(mine.embeddings, same.embeddings)
        assert mine.depths.shape == mine.scores.shape == mine.owner.shape
        kinds, count = np.unique(mine.owner[mine.first], return_counts=True)
        assert (count == 1).all() and FALSE not in kinds
    without = make_clip(np.random.default_rng(5), GraphData(warm_up=6, frames=4, depth=0.0, appearance=0.0))
    assert without.moments[0].depths is None and without.moments[0].embeddings is None


def test_mirroring_keeps_the_truth_on_its_detections() -> None:
    data, errors = GraphData(presets={"street": 1.0}, warm_up=2, frames=3), []
    for seed in range(6):
        for moment in make_clip(np.random.default_rng(seed), data).moments:
            assert (moment.boxes[:, 2] > moment.boxes[:, 0]).all()
            true = moment.truth[moment.owner]
            width = moment.boxes[:, 2] - moment.boxes[:, 0]
            error = np.abs(moment.boxes[:, 0] + moment.boxes[:, 2] - true[:, 0] - true[:, 2]) / 2 / width
            errors.extend(error[moment.first])
    assert np.nanmedian(errors) < 0.2 and np.isfinite(errors).sum() > 20
