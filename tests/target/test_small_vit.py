"""Our small vision transformer."""

from __future__ import annotations

import pytest
import torch

from scenegraph_track.errors import UserError
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
