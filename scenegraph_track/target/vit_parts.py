"""What the one-stream encoder takes from a vision transformer, ours or one of ``timm``."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear

from scenegraph_track.errors import UserError
from scenegraph_track.target.small_vit import SmallViT


def check_network(network: nn.Module) -> None:
    """Refuse networks whose blocks work otherwise, and let those of ``timm`` take images of any size.

    Raises:
        UserError: The network is no vision transformer of plain blocks.
    """
    if isinstance(network, SmallViT):
        return
    from timm.layers import AttentionRope, PatchEmbed
    from timm.models.eva import Eva, EvaAttention, EvaBlock
    from timm.models.vision_transformer import Attention, Block, VisionTransformer

    known = isinstance(network, VisionTransformer | Eva) and isinstance(network.patch_embed, PatchEmbed)
    known = known and all(
        isinstance(block, Block | EvaBlock) and isinstance(block.attn, Attention | AttentionRope | EvaAttention)
        for block in network.blocks
    )
    if not known or getattr(network, "rope_mixed", False):
        name = type(network).__name__
        raise UserError(f"one-stream encoder: {name} is no vision transformer of plain blocks, such as timm's vit_*")
    network.patch_embed.strict_img_size = False


@torch.no_grad()
def prefix_and_positions(network: nn.Module) -> tuple[Tensor, Tensor]:
    """Class and register tokens (1, P, C) with their positions, and position embeddings (1, C, h, w) of the patches."""
    weight, grid = network.patch_embed.proj.weight, network.patch_embed.grid_size
    named = (getattr(network, name, None) for name in ("cls_token", "dist_token", "reg_token"))
    tokens = [token for token in named if token is not None]
    prefix = torch.cat(tokens, 1) if tokens else weight.new_zeros(1, 0, len(weight))
    if network.pos_embed is None:
        return prefix, weight.new_zeros(1, len(weight), *grid)
    own = network.pos_embed.shape[1] - grid[0] * grid[1]
    if own:
        prefix = prefix + network.pos_embed[:, :own]
    return prefix, network.pos_embed[:, own:].transpose(1, 2).unflatten(-1, grid).clone(
        memory_format=torch.contiguous_format
    )


def resampled(positions: Tensor, grid: tuple[int, int]) -> Tensor:
    """Position embeddings (1, C, h, w) on another grid, bicubic."""
    if positions.shape[2:] == grid:
        return positions
    return interpolate(positions.float(), grid, mode="bicubic", antialias=True, align_corners=False).to(positions)


def attention_weights(attn: nn.Module, tokens: Tensor, rows: slice, rope: Tensor | None = None) -> Tensor:
    """The attention of some tokens to all, by the weights of an attention layer of ours or of ``timm``.

    Args:
        attn: The layer.
        tokens: (B, N, C) as they go into it.
        rows: Those that attend, R of them.
        rope: (1 or B, 1, N - prefix, D) rotations of the tokens behind the layer's prefix tokens.

    Returns:
        (B, heads, R, N) after the softmax, without dropout.
    """
    queries, keys = _queries_and_keys(attn, tokens)
    if hasattr(attn, "q_norm"):
        queries, keys = attn.q_norm(queries), attn.k_norm(keys)
    if rope is not None:
        from timm.layers import apply_rot_embed_cat

        first, half = attn.num_prefix_tokens, getattr(attn, "rotate_half", False)
        queries, keys = (
            torch.cat([x[:, :, :first], apply_rot_embed_cat(x[:, :, first:], rope, half=half)], 2)
            for x in (queries, keys)
        )
    return (queries[:, :, rows] * queries.shape[-1] ** -0.5 @ keys.transpose(-1, -2)).softmax(-1)


def _queries_and_keys(attn: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Both as (B, heads, N, D)."""
    if attn.qkv is None:
        size = attn.q_proj.out_features // attn.num_heads
        queries, keys = (f(tokens).unflatten(-1, (-1, size)).transpose(1, 2) for f in (attn.q_proj, attn.k_proj))
        return queries, keys.repeat_interleave(queries.shape[1] // keys.shape[1], 1)
    count = attn.qkv.out_features // 3 * 2
    bias = attn.qkv.bias
    if getattr(attn, "q_bias", None) is not None:
        bias = torch.cat([attn.q_bias, attn.k_bias])
    both = linear(tokens, attn.qkv.weight[:count], None if bias is None else bias[:count])
    queries, keys = both.unflatten(-1, (2, attn.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return queries, keys
