"""Which network learns when, and by what."""

from __future__ import annotations

from scenegraph_track.training.phases import phase_of
from scenegraph_track.training.photometric_settings import PhotometricSettings


def test_regimes_and_their_phases() -> None:
    settings = PhotometricSettings.model_validate({"phases": {"pose": 10, "depth": 5}})
    found = [phase_of(settings, step) for step in (0, 9, 10, 14, 15, 20)]
    assert [(p.depth, p.pose) for p in found] == [(False, True)] * 2 + [(True, False)] * 2 + [(True, True)] * 2
    assert [(p.depth_steps, p.pose_steps) for p in found] == [(0, 1), (0, 10), (1, 10), (5, 10), (6, 11), (11, 16)]
    assert [p.loss.alpha for p in found] == [0.0, 0.0, 0.85, 0.85, 0.85, 0.85]
    assert [p.loss.auto_mask for p in found] == [False] * 4 + [True] * 2
    for regime, alpha in (("ssim_l1_joint", 0.85), ("l1_joint", 0.0)):
        phase = phase_of(settings.model_copy(update={"regime": regime}), 0)
        assert (phase.depth, phase.pose, phase.loss.alpha, phase.loss.auto_mask) == (True, True, alpha, True)
