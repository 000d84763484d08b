"""A small vision transformer of our own, with the parts that `one_stream.OneStreamEncoder` takes from any."""

from __future__ import annotations

from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from detectors.backbones import Backbone
from scenegraph_track.errors import UserError


class PatchEmbed(nn.Module):
    """Tokens (B, N, C) of images (B, 3, H, W), one for each patch, row by row."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.patch_size, self.grid_size = (patch, patch), (size // patch, size // patch)
        self.proj = nn.Conv2d(3, width, patch, patch)

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.proj(images).flatten(2).transpose(1, 2)


class FeatureEmbed(nn.Module):
    """Tokens (B, N, C) of images (B, 3, H, W), the features of a trained network that stays as it is, row by row.

    A transformer of few blocks does not learn to compare patches from a few thousand views; convolutions in front of it
    help (Xiao et al., NeurIPS 2021), and features with which targets can be told apart help most.

    Args:
        backbone: A module with ``dim``, ``stride`` and ``features``, as of target models; images in [0, 1].
        size: Side of the images that positions are for.
        width: Of the tokens.
    """

    def __init__(self, backbone: Backbone, size: int, width: int) -> None:
        super().__init__()
        side = backbone.stride
        self.patch_size, self.grid_size = (side, side), (size // side, size // side)
        self.backbone = backbone.requires_grad_(False)
        self.norm = nn.LayerNorm(backbone.dim)
        self.proj = nn.Linear(backbone.dim, width)

    def train(self, mode: bool = True) -> Self:
        """As of any module; the backbone stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        return self.proj(self.norm(self.backbone.features(images).flatten(2).transpose(1, 2)))


class Attention(nn.Module):
    """Self-attention with several heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) of (B, N, C)."""
        queries, keys, values = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and a perceptron, each behind a normalisation and beside a shortcut."""

    def __init__(self, width: int, heads: int, ratio: int = 4) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, C) of (B, N, C)."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class SmallViT(nn.Module):
    """A plain vision transformer (Dosovitskiy et al., ICLR 2021) without class token.

    Args:
        size: Side of the images that its position embeddings are for.
        patch: Side of a patch.
        width: Of the tokens.
        depth: Number of blocks.
        heads: Of each attention.
        backbone: Tokens are its features, see `FeatureEmbed`; None: of the pixels of patches.

    Raises:
        UserError: The sizes do not fit each other.
    """

    def __init__(
        self,
        size: int = 128,
        patch: int = 8,
        width: int = 192,
        depth: int = 6,
        heads: int = 3,
        backbone: Backbone | None = None,
    ) -> None:
        super().__init__()
        if size % patch or width % heads or min(size, patch, width, depth, heads) < 1:
            found = f"size {size}, patch {patch}, width {width}, depth {depth}, heads {heads}"
            raise UserError(f"SmallViT: the patch must divide the size, and the heads the width; found {found}")
        if backbone is None:
            self.patch_embed: PatchEmbed | FeatureEmbed = PatchEmbed(size, patch, width)
        elif backbone.stride != patch:
            raise UserError(f"SmallViT: expected patches as large as cells of the backbone, {backbone.stride} pixels")
        else:
            self.patch_embed = FeatureEmbed(backbone, size, width)
            self.pretrained_cfg = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
        self.pos_embed = nn.Parameter(torch.empty(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        if isinstance(self.patch_embed, FeatureEmbed):  # what it says is not lost beside what the blocks add
            nn.init.normal_(self.patch_embed.proj.weight, std=backbone.dim**-0.5)

    def forward(self, images: Tensor) -> Tensor:
        """Tokens (B, N, C) of normalised images (B, 3, size, size)."""
        return self.norm(self.blocks(self.patch_embed(images) + self.pos_embed))
