"""Templates of a target, the view to search and context tokens in one vision transformer.

One-stream trackers (OSTrack, Ye et al., ECCV 2022) let the tokens of both images attend to each other from the first
block on, instead of describing each image by itself.  The attention that search tokens get from the target says where
it may be: it thins out the search tokens on the way (candidate elimination of the same paper) and is a cue of its own.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.target.elimination import Elimination, best_candidates
from scenegraph_track.target.small_vit import SmallViT
from scenegraph_track.target.vit_parts import attention_weights, check_network, prefix_and_positions, resampled

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
"""Of the images that a network expects where it does not say."""


@dataclass(frozen=True, eq=False)
class OneStreamOutput:
    """What the encoder makes of B targets.

    Args:
        search: (B, C, h, w) features of the search view, 0 where tokens were eliminated.
        templates: (B, M, C, hz, wz) features of the templates.
        context: (B, P, C) the context tokens behind the last block.
        kept: (B, h, w) whether a token was still there behind the last block.
        attention: (B, heads, P + M hz wz, h, w) how much the context and template tokens, in this order and row by row,
            attend to each search token in the last block (after the softmax, so that a row sums to at most 1), 0 where
            it was gone; None where it was not asked for.
    """

    search: Tensor
    templates: Tensor
    context: Tensor
    kept: Tensor
    attention: Tensor | None


class OneStreamEncoder(nn.Module):
    """Joint features of templates and a search view, by any plain vision transformer.

    Tokens stand in the order class and register tokens of the network, context, templates, search.  Templates share
    position embeddings, the search view has its own; both start from those of the network, resampled.  Nothing is kept
    from one call to the next.

    Args:
        network: Ours, or one of ``timm``: of the families ``vision_transformer``, ``deit`` and ``eva`` (also DINO,
            DINOv2 and, with rotary positions, DINOv3).  Its parts become the encoder's.  `SmallViT` where None.
        template: Side of the templates in pixels, as position embeddings are made for.
        search: Side of the search view; other sides are possible, and resample the position embeddings at each call.
        elimination: None keeps all search tokens.

    Attributes:
        width: Of the tokens.
        stride: Pixels of a view per token.

    Raises:
        UserError: The network is of another kind, or sizes or blocks do not fit it.
    """

    def __init__(
        self,
        network: nn.Module | None = None,
        template: int = 64,
        search: int = 128,
        elimination: Elimination | None = None,
    ) -> None:
        super().__init__()
        network = SmallViT(search) if network is None else network
        check_network(network)
        self.patch_embed, self.blocks, self.norm = network.patch_embed, network.blocks, network.norm
        self.norm_pre = getattr(network, "norm_pre", nn.Identity())
        self.rope = getattr(network, "rope", None)
        self.stride = self.patch_embed.patch_size[0]
        self.elimination = elimination
        unknown = [k for k in (elimination.blocks if elimination else ()) if not 0 <= k < len(self.blocks)]
        if unknown:
            raise UserError(f"elimination: the network has blocks 0 to {len(self.blocks) - 1}, found {unknown}")
        prefix, positions = prefix_and_positions(network)
        self.width = positions.shape[1]
        self.prefix = nn.Parameter(prefix)
        self.template_positions, self.search_positions = (
            nn.Parameter(resampled(positions, self._grid((side, side)))) for side in (template, search)
        )
        config = getattr(network, "pretrained_cfg", IMAGENET)
        for key in IMAGENET:
            self.register_buffer(key, torch.tensor(config[key])[:, None, None], persistent=False)

    @classmethod
    def from_timm(
        cls,
        name: str,
        pretrained: bool = False,
        folder: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> OneStreamEncoder:
        """An encoder of a ``timm`` network by name.

        Args:
            name: As ``timm.list_models`` says; see `detectors.backbones.TimmBackbone` for this and the next three.
            pretrained: Whether its weights are fetched.
            folder: Weights to load instead.
            options: Passed to ``timm.create_model``.
            settings: Passed to the encoder.

        Raises:
            UserError: The network is of another kind, or sizes or blocks do not fit it.
            DetectorError: There is no such network or weights, or they do not fit.
        """
        from detectors.backbones import TimmBackbone

        backbone = TimmBackbone(name, pretrained, folder, frozen=False, options=options)
        return cls(backbone.network, **settings)

    def forward(
        self,
        templates: Tensor,
        search: Tensor,
        context: Tensor | None = None,
        reference: Tensor | None = None,
        keep: float | None = None,
        attention: bool = False,
    ) -> OneStreamOutput:
        """Joint features.

        Args:
            templates: (B, M, 3, Hz, Wz) RGB in [0, 1], M may be 0; sides are multiples of the stride.
            search: (B, 3, H, W) likewise.
            context: (B, P, C) tokens that take part, such as queries and prompts; they get no position.
            reference: (B, M, hz, wz) weights of the template tokens whose attention decides which search tokens are
                eliminated, as tokens inside of the target's box; the middle token of each template where None.
            keep: Share of the search tokens that is kept each time, as of `Elimination.ratio`; the encoder's own where
                None.
            attention: Whether the attention of the last block is given.

        Raises:
            UserError: Views are no multiples of the stride.
        """
        batch, count = templates.shape[:2]
        template_tokens, small = self._tokens(templates.flatten(0, 1), self.template_positions)
        search_tokens, grid = self._tokens(search, self.search_positions)
        context = search_tokens.new_zeros(batch, 0, self.width) if context is None else context
        parts = [self.norm_pre(self.prefix).expand(batch, -1, -1), context]
        parts += [self.norm_pre(template_tokens).reshape(batch, -1, self.width), self.norm_pre(search_tokens)]
        tokens, rope = torch.cat(parts, 1), self._rope(context.shape[1], count, small, grid)
        first, behind, start = itertools.accumulate(part.shape[1] for part in parts[:3])
        there = torch.arange(grid[0] * grid[1], device=tokens.device).expand(batch, -1)

        stages, keep = self._stages(keep)
        reference = _middle(batch, count, small, tokens) if reference is None else reference.to(tokens)
        seen = None
        for number, block in enumerate(self.blocks):
            if attention and number == len(self.blocks) - 1:
                seen = attention_weights(block.attn, block.norm1(tokens), slice(first, start), rope)[..., start:]
                seen = _scattered(seen, there[:, None, None], grid)
            chosen = None
            if number in stages and count:
                with torch.no_grad():
                    weights = attention_weights(block.attn, block.norm1(tokens), slice(behind, start), rope)
                    chosen = best_candidates(weights[..., start:], reference.flatten(1), keep)
            tokens = block(tokens) if rope is None else block(tokens, rope=rope)
            if chosen is not None:
                there = there.gather(1, chosen)
                tokens = _without(tokens, chosen, start)
                rope = None if rope is None else _without(rope.expand(batch, -1, -1, -1), chosen, start - first)

        tokens = self.norm(tokens)
        return OneStreamOutput(
            _scattered(tokens[:, start:].transpose(1, 2), there[:, None], grid),
            tokens[:, behind:start].unflatten(1, (count, *small)).permute(0, 1, 4, 2, 3),
            tokens[:, first:behind],
            _scattered(torch.ones_like(there, dtype=torch.bool), there, grid),
            seen,
        )

    def _stages(self, keep: float | None) -> tuple[tuple[int, ...], float]:
        """Blocks behind which search tokens are eliminated, and the share that is kept."""
        keep = self.elimination.keep if keep is None and self.elimination is not None else keep
        return ((), 1.0) if self.elimination is None or keep == 1 else (self.elimination.blocks, keep)

    def _grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the tokens of a view."""
        if any(side % self.stride or not side for side in size):
            raise UserError(
                f"a view must be a multiple of {self.stride} pixels on each side, found {size[0]}x{size[1]}"
            )
        return size[0] // self.stride, size[1] // self.stride

    def _tokens(self, images: Tensor, positions: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Tokens (N, h w, C) of images (N, 3, H, W) with their positions, and the grid (h, w)."""
        grid = self._grid((images.shape[-2], images.shape[-1]))
        tokens = self.patch_embed((images - self.mean) / self.std).flatten(1, -2)
        return tokens + resampled(positions, grid).flatten(2).transpose(1, 2), grid

    def _rope(self, context: int, count: int, small: tuple[int, int], grid: tuple[int, int]) -> Tensor | None:
        """Rotations (1, 1, N, D), sine and cosine, of the tokens from the context on; None in a network without."""
        if self.rope is None:
            return None
        inside, around = self.rope.get_embed(shape=small), self.rope.get_embed(shape=grid)
        still = around.new_zeros(context, around.shape[1])
        still[:, around.shape[1] // 2 :] = 1
        return torch.cat([still, *[inside] * count, around])[None, None]


def _without(values: Tensor, chosen: Tensor, start: int) -> Tensor:
    """The tokens (B, ..., N, D) up to ``start``, and of those behind it the chosen (B, n)."""
    index = chosen.view(len(chosen), *[1] * (values.ndim - 3), -1, 1)
    index = index.expand(*values.shape[:-2], -1, values.shape[-1])
    return torch.cat([values[..., :start, :], values[..., start:, :].gather(-2, index)], -2)


def _scattered(values: Tensor, index: Tensor, grid: tuple[int, int]) -> Tensor:
    """Values (..., n) of the tokens ``index`` (..., n) as maps (..., h, w), zeros elsewhere."""
    maps = values.new_zeros(*values.shape[:-1], grid[0] * grid[1])
    return maps.scatter(-1, index.expand_as(values), values).unflatten(-1, grid)


def _middle(batch: int, count: int, grid: tuple[int, int], like: Tensor) -> Tensor:
    """Weights (B, M, h, w): 1 for the token at the middle, the upper left one of four."""
    weights = like.new_zeros(batch, count, *grid)
    weights[..., (grid[0] - 1) // 2, (grid[1] - 1) // 2] = 1
    return weights
