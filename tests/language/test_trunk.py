"""The visual trunk."""

from __future__ import annotations

import torch

from scenegraph_track.language.trunk import Trunk, change_of
from scenegraph_track.target.backbone import ResidualBackbone


def test_a_trained_backbone_is_taken_over_and_kept() -> None:
    torch.manual_seed(0)
    backbone, trunk = ResidualBackbone((4, 6, 8), (0, 1)).eval(), Trunk((4, 6, 8), (1, 1), 4).eval()
    trunk.start_from(backbone)
    trunk.keep()
    images = torch.rand(1, 3, 32, 48)
    unknown = change_of(images, images, torch.zeros(1, dtype=torch.bool))
    torch.testing.assert_close(trunk(images, unknown), backbone(images).relu())
    assert not any(p.requires_grad for p in trunk.kept().parameters())
    assert any(p.requires_grad for p in trunk.parameters())


def test_unknown_motion_is_not_no_motion() -> None:
    images = torch.rand(1, 3, 8, 8)
    still, unknown = (change_of(images, images, torch.tensor([known])) for known in (True, False))
    assert still[:, :3].abs().max() == 0 and unknown.abs().max() == 0
    assert still[:, 3].min() == 1
