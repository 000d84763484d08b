from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.streams.calibration import scores_from_quality


@pytest.mark.parametrize("curve", ["power", "saturating", "plateau", "staircase"])
@pytest.mark.parametrize("scale", ["unit", "raw", "logit", "percent"])
def test_better_detections_never_score_lower(curve: str, scale: str) -> None:
    quality = np.linspace(-6, 8, 200)
    scores = scores_from_quality(quality, curve, 0.8, scale, 0.95, np.zeros(200))
    assert (np.diff(scores) >= 0).all()
    assert scores[-1] > scores[0]


def test_scales_span_what_they_say() -> None:
    quality = np.linspace(-4, 6, 50)
    span = {s: scores_from_quality(quality, "power", 1.0, s, 1.0, np.zeros(50)) for s in ("unit", "raw", "logit")}
    assert 0 < span["unit"].min() < span["unit"].max() <= 1
    assert span["raw"].max() > 50
    assert span["logit"].min() < 0 < 2 < span["logit"].max()
