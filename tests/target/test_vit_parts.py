"""Attention of layers of ``timm`` and of ours, against what the layers themselves do with it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scenegraph_track.target.small_vit import Attention
from scenegraph_track.target.vit_parts import attention_weights, resampled


class _Same(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def _layers() -> dict[str, nn.Module]:
    from timm.layers import AttentionRope
    from timm.models.eva import EvaAttention
    from timm.models.vision_transformer import Attention as TimmAttention

    return {
        "ours": Attention(16, 4),
        "timm": TimmAttention(16, 4, qkv_bias=True),
        "timm, normalised keys": TimmAttention(16, 4, qk_norm=True, norm_layer=nn.LayerNorm),
        "eva": EvaAttention(16, 4, norm_layer=nn.LayerNorm, scale_norm=False),
        "eva, apart": EvaAttention(16, 4, qkv_fused=False, scale_norm=False),
        "rope": AttentionRope(16, 4),
        "rope, shared keys": AttentionRope(16, 4, qkv_fused=False, num_kv_heads=2),
    }


PLAIN, ROTARY = ["ours", "timm", "timm, normalised keys"], ["eva", "eva, apart", "rope", "rope, shared keys"]


@pytest.mark.parametrize(
    ("name", "rotated"), [*((name, False) for name in PLAIN + ROTARY), *((name, True) for name in ROTARY)]
)
def test_weights_times_values_are_what_the_layer_gives(name: str, rotated: bool) -> None:
    torch.manual_seed(0)
    layer = _layers()[name].eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, std=0.5)
    layer.proj = _Same()
    tokens, more = torch.randn(2, 7, 16), {}
    if rotated:
        angles = torch.rand(2, 1, 6, 2).repeat_interleave(2, -1)
        more = {"rope": torch.cat([angles.sin(), angles.cos()], -1)}
    weights = attention_weights(layer, tokens, slice(2, 5), **more)
    assert weights.shape == (2, 4, 3, 7)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 3))
    if layer.qkv is not None:
        values = layer.qkv(tokens)[..., 32:] + (layer.v_bias if getattr(layer, "v_bias", None) is not None else 0)
    else:
        values = layer.v_proj(tokens)
    values = values.unflatten(-1, (-1, 4)).transpose(1, 2)
    values = values.repeat_interleave(4 // values.shape[1], 1)
    torch.testing.assert_close((weights @ values).transpose(1, 2).flatten(2), layer(tokens, **more)[:, 2:5])


def test_positions_on_another_grid_keep_a_ramp_and_are_their_own_on_their_grid() -> None:
    positions = torch.arange(8.0).repeat(1, 1, 4, 1)
    assert resampled(positions, (4, 8)) is positions
    half = resampled(positions, (2, 4))
    torch.testing.assert_close(half[0, 0, :, 1:3], torch.tensor([[2.5, 4.5]] * 2), atol=0.05, rtol=0)
