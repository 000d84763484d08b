"""Our small vision transformer."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.errors import UserError
from scenegraph_track.target.backbone import ResidualBackbone
from scenegraph_track.target.small_vit import Attention, SmallViT


def test_attention_is_that_of_the_formula() -> None:
    torch.manual_seed(0)
    attention, tokens = Attention(12, 3).double(), torch.randn(2, 5, 12, dtype=torch.float64)
    out = torch.empty_like(tokens)
    for sample in range(2):
        x = tokens[sample] @ attention.qkv.weight.T + attention.qkv.bias
        for head in range(3):
            q, k, v = (x[:, start + 4 * head : start + 4 * head + 4] for start in (0, 12, 24))
            out[sample, :, 4 * head : 4 * head + 4] = (q @ k.T / 2).softmax(1) @ v
    torch.testing.assert_close(attention(tokens), attention.proj(out))


def test_tokens_stand_row_by_row() -> None:
    torch.manual_seed(0)
    vit = SmallViT(32, 8, 24, 2, 3)
    images = torch.zeros(1, 3, 32, 32)
    images[..., 8:16, 24:32] = 1
    changed = (vit.patch_embed(images) - vit.patch_embed(torch.zeros_like(images))).abs().sum(2)[0] > 1e-6
    assert changed.nonzero().flatten().tolist() == [7]
    assert vit(images).shape == (1, 16, 24)


def test_the_size_by_default() -> None:
    assert sum(p.numel() for p in SmallViT().parameters()) == pytest.approx(2.75e6, rel=0.02)


@pytest.mark.parametrize("wrong", [{"size": 100}, {"heads": 5}, {"depth": 0}])
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UserError, match="must divide"):
        SmallViT(**wrong)


def test_tokens_of_features_stand_row_by_row_and_the_backbone_stays_as_it_is() -> None:
    torch.manual_seed(0)
    vit = SmallViT(48, 8, 24, 2, 3, ResidualBackbone((4, 6, 10), (0, 1))).train()
    before = {name: value.clone() for name, value in vit.patch_embed.backbone.state_dict().items()}
    images = torch.rand(2, 3, 48, 32)
    tokens = vit.patch_embed(images)
    assert tokens.shape == (2, 24, 24)
    cells = vit.patch_embed.backbone.features(images)  # B, C, 6, 4
    expected = vit.patch_embed.proj(vit.patch_embed.norm(cells[:, :, 3, 1]))
    torch.testing.assert_close(tokens[:, 3 * 4 + 1], expected)
    tokens.square().sum().backward()
    assert {name for name, p in vit.patch_embed.named_parameters() if p.grad is not None} == {
        *("norm.weight", "norm.bias", "proj.weight", "proj.bias")
    }
    assert all(torch.equal(value, before[name]) for name, value in vit.patch_embed.backbone.state_dict().items())


def test_patches_of_another_size_than_the_cells_are_refused() -> None:
    with pytest.raises(UserError, match="as large as cells of the backbone, 8 pixels"):
        SmallViT(48, 16, 24, 2, 3, ResidualBackbone((4, 6, 10), (0, 1)))
