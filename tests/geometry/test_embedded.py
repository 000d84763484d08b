"""The networks that ship."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from geometry.depth_net import DepthNet
from geometry.embedded import depth_estimator, depth_net, flow_estimator, flow_net, pose_net
from geometry.errors import GeometryError


def test_flow_of_a_shift_both_ways() -> None:
    coarse = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    image = torch.nn.functional.interpolate(coarse, (64, 96), mode="bicubic").clamp(0, 1)[0]
    there, back = flow_estimator().both_ways(image, image.roll(2, 2))
    assert float((there[0, 8:-8, 8:-8] - 2).abs().median()) < 0.25
    assert float((back[0, 8:-8, 8:-8] + 2).abs().median()) < 0.25


def test_depth_with_and_without_a_part_that_is_known() -> None:
    estimate, k = depth_estimator(), torch.tensor([[[60.0, 0, 32], [0, 60.0, 24], [0, 0, 1]]])
    image, known = torch.rand(1, 3, 48, 64), torch.ones(1, 1, 48, 64)
    alone, told = estimate(image, k), estimate.complete(image, k, 3 * known, 0.9 * known)
    assert alone.shape == told.shape == (1, 1, 48, 64) and alone.min() > 0
    assert told.log().std() < alone.log().std(), "a flat scene that is known is flatter"


def test_nothing_is_trained_further() -> None:
    for net in (flow_net(), depth_net(), pose_net()):
        assert not net.training and not any(p.requires_grad for p in net.parameters())


def test_a_recipe_that_describes_another_network(tmp_path: Path) -> None:
    weights = {f"depth.{name}": value for name, value in DepthNet().state_dict().items()}
    save_file(weights, tmp_path / "w.safetensors", {"recipe": json.dumps({"depth_net": {"colour": 3}})})
    with pytest.raises(GeometryError, match="does not describe a DepthNet"):
        depth_net(tmp_path / "w.safetensors")
