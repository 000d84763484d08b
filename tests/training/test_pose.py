"""The stage that teaches camera motion."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from geometry.camera import rigid_flow
from geometry.pose import target_from_source
from scenegraph_track.training.pose import PoseNetSettings, PoseStage, mirrored

K = np.array([[40.0, 0, 21.0], [0, 42.0, 14.0], [0, 0, 1]])


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mirrored_scene_has_the_mirrored_flow(axis: int) -> None:
    depth = torch.rand(1, 1, 32, 40, dtype=torch.double) + 1
    motion = target_from_source(torch.tensor([0.02, -0.03, 0.01]).double(), torch.tensor([0.1, 0.05, -0.2]).double())
    flow = rigid_flow(depth, motion[None], torch.from_numpy(K)[None])[0]
    k, turned = mirrored(K, motion.numpy(), axis, 40 if axis == 0 else 32)
    there = rigid_flow(depth.flip(3 - axis), torch.from_numpy(turned)[None], torch.from_numpy(k)[None])[0]
    sign = torch.tensor([-1.0, 1.0] if axis == 0 else [1.0, -1.0]).double()[:, None, None]
    assert torch.allclose(there, flow.flip(2 - axis) * sign, atol=1e-9)
    assert np.linalg.det(turned[:3, :3]) == pytest.approx(1)


class Fixed(torch.nn.Module):
    """Says the same whatever it sees."""

    def __init__(self, motion: torch.Tensor) -> None:
        super().__init__()
        self.motion = torch.nn.Parameter(motion)

    def forward(self, images, intrinsics, flow=None):
        return self.motion[:, None]


def batch(motion: torch.Tensor, translates: float) -> dict[str, torch.Tensor]:
    return {
        "images": torch.rand(1, 2, 3, 32, 32),
        "intrinsics": torch.eye(3)[None],
        "flow": torch.zeros(1, 1, 3, 32, 32),
        "motion": motion,
        "translates": torch.tensor([[translates]]),
    }


def test_errors_by_hand() -> None:
    # Half the turn and half the step in the right direction: half of each, no angle.
    stage = PoseStage(PoseStage.Settings(loss={"floor": 1e-9}), 0)
    truth = target_from_source(torch.tensor([[0.0, 0.1, 0.0]]), torch.tensor([[0.0, 0.0, 0.2]]))
    stage.net = Fixed(target_from_source(torch.tensor([[0.0, 0.05, 0.0]]), torch.tensor([[0.0, 0.0, 0.1]])))
    total, metrics = stage.loss(batch(truth, 1.0), 0)
    assert metrics["rotation"].item() == pytest.approx(0.5, abs=1e-3)
    assert metrics["translation"].item() == pytest.approx(0.5, abs=1e-3)
    assert metrics["direction"].item() == pytest.approx(0, abs=1e-3)
    total.backward()
    assert stage.net.motion.grad.isfinite().all()


def test_an_unknown_translation_does_not_count() -> None:
    stage = PoseStage(PoseStage.Settings(), 0)
    truth = torch.eye(4)[None]
    stage.net = Fixed(target_from_source(torch.zeros(1, 3), torch.tensor([[1.0, 2.0, 3.0]])))
    _, metrics = stage.loss(batch(truth, 0.0), 0)
    assert metrics["translation"] == 0 and metrics["direction"] == 0


def test_the_perfect_answer_has_finite_gradients() -> None:
    stage = PoseStage(PoseStage.Settings(), 0)
    truth = target_from_source(torch.tensor([[0.0, 0.1, 0.0]]), torch.tensor([[0.0, 0.0, 0.2]]))
    stage.net = Fixed(truth.clone())
    total, _ = stage.loss(batch(truth, 1.0), 0)
    total.backward()
    assert stage.net.motion.grad.isfinite().all()


def test_a_network_that_looks_at_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="looked at"):
        PoseNetSettings(flow=False, images=False)


def test_samples_count_one_by_one() -> None:
    # Two pairs, one of them right and one wrong: the mean, not a table of all against all.
    stage = PoseStage(PoseStage.Settings(loss={"floor": 1e-9}), 0)
    moves = torch.tensor([[0.0, 0.0, 0.2], [0.0, 0.3, 0.0]])
    truth = target_from_source(torch.full((2, 3), 0.1), moves)
    stage.net = Fixed(target_from_source(torch.full((2, 3), 0.1), moves * torch.tensor([[1.0], [0.5]])))
    both = {name: torch.cat([value, value]) for name, value in batch(truth[:1], 1.0).items()} | {"motion": truth}
    _, metrics = stage.loss(both, 0)
    assert metrics["translation"].item() == pytest.approx(0.25, abs=1e-3)
    assert metrics["direction"].item() == pytest.approx(0, abs=1e-3)
