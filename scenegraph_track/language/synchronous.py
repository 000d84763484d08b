"""The synchronous backbone: groups of a vision transformer and groups of a text encoder advance together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from scenegraph_track.errors import UserError
from scenegraph_track.language.semantic_aware import SemanticAware
from scenegraph_track.language.target_enhance import TargetEnhance


@dataclass(frozen=True, eq=False)
class Words:
    """Sentences in a text encoder.

    Args:
        tokens: (B, W, C_t).
        spoken: (B, W) bool, which of them are words.
        extra: What the encoder's own layers want besides.
    """

    tokens: Tensor
    spoken: Tensor
    extra: object = None

    def mean(self) -> Tensor:
        """(B, C_t) of the words that there are."""
        kept = self.spoken[..., None].to(self.tokens)
        return (self.tokens * kept).sum(1) / kept.sum(1).clamp(min=1)


class TextGroups(Protocol):
    """A text encoder in groups of layers."""

    dim: int
    groups: int

    def start(self, ids: Tensor) -> Words:
        """Embedded sentences (B, W)."""
        ...

    def advance(self, group: int, words: Words) -> Words:
        """The words behind the layers of a group."""
        ...


@dataclass(frozen=True, eq=False)
class Fused:
    """What is known behind a stage.

    Args:
        search: (R, N, C).
        words: Of the R sentences.
        gate: (R, N) of `TargetEnhance`; ones without it.
        relevance: (R, W) of `SemanticAware`; even without it.
    """

    search: Tensor
    words: Words
    gate: Tensor
    relevance: Tensor


class SynchronousBackbone(nn.Module):
    """Text and vision advance at the same pace (SATracker-style; the inside of its modules is our reconstruction).

    Stage by stage a visual group works on the tokens of search image and template and a text group on the words; then
    `TargetEnhance` brings the words and the template into the search tokens, and `SemanticAware` weighs the words by
    what is seen.  Before the first of them, images that several sentences speak of are worked on once.

    Args:
        visual: L modules from (B, N, C) to (B, N, C): blocks of our vision transformer or of any of ``timm``.
        dim: C.
        text_dim: Of the words.
        stages: L; the text encoder has so many groups too.
        heads: Of all attention between the two.
        target_enhance: Whether there are `TargetEnhance` modules.
        semantic_aware: Whether there are `SemanticAware` modules.
    """

    def __init__(
        self,
        visual: Sequence[nn.Module],
        dim: int,
        text_dim: int,
        heads: int = 4,
        target_enhance: bool = True,
        semantic_aware: bool = True,
    ) -> None:
        super().__init__()
        if not visual:
            raise UserError("synchronous backbone: expected at least one visual group, found none")
        self.visual = nn.ModuleList(visual)
        stages = range(len(visual))
        self.enhance = nn.ModuleList(TargetEnhance(dim, text_dim, heads) for _ in stages if target_enhance)
        self.aware = nn.ModuleList(SemanticAware(text_dim, dim, heads) for _ in stages if semantic_aware)

    def forward(
        self,
        search: Tensor,
        template: Tensor,
        text: TextGroups,
        words: Words,
        image: Tensor | None = None,
        given: Tensor | None = None,
    ) -> list[Fused]:
        """What is known behind each stage.

        Args:
            search: (B, N, C) tokens of images.
            template: (R, M, C) tokens of templates; M may be 0.
            text: The encoder.
            words: R sentences, embedded.
            image: (R,) the image that each sentence speaks of; None: each of its own.
            given: (R,) bool, whether there is a template; None: there is.

        Raises:
            UserError: The text encoder has another number of groups.
        """
        if text.groups != len(self.visual):
            raise UserError(f"synchronous backbone: expected {len(self.visual)} groups of text, found {text.groups}")
        stages: list[Fused] = []
        for number, group in enumerate(self.visual):
            search = group(search)
            if template.shape[1]:
                template = group(template)
            if number == 0 and image is not None:
                search = search[image]
            words = text.advance(number, words)
            gate = search.new_ones(search.shape[:2])
            relevance = words.spoken.to(search) / words.spoken.sum(1, keepdim=True).clamp(min=1)
            if len(self.enhance):
                enhanced = self.enhance[number](search, template, words.tokens, words.spoken, given)
                search, template, gate = enhanced.search, enhanced.template, enhanced.gate
            if len(self.aware):
                tokens, relevance = self.aware[number](words.tokens, words.spoken, search, template, gate, given)
                words = Words(tokens, words.spoken, words.extra)
            stages.append(Fused(search, words, gate, relevance))
        return stages


def block_groups(blocks: Iterable[nn.Module], count: int) -> list[nn.Sequential]:
    """The blocks of a vision transformer, ours or one of ``timm``, in groups of about equal length.

    For networks of a user's own: ``SynchronousBackbone(block_groups(vit.blocks, 4), vit.embed_dim, text.dim)``.

    Args:
        blocks: ``network.blocks``.
        count: Number of groups.

    Raises:
        UserError: There are fewer blocks than groups.
    """
    found = list(blocks)
    if not 1 <= count <= len(found):
        raise UserError(f"block groups: expected 1 to {len(found)} groups of {len(found)} blocks, found {count}")
    ends = [round(len(found) * k / count) for k in range(count + 1)]
    return [nn.Sequential(*found[a:b]) for a, b in pairwise(ends)]


def visual_tokens(features: Tensor) -> Tensor:
    """Tokens (B, h w, C) of maps (B, C, h, w)."""
    return features.flatten(2).transpose(1, 2)


def token_maps(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps (B, C, h, w) of tokens (B, h w, C)."""
    return tokens.transpose(1, 2).unflatten(2, size)


def no_template(like: Tensor, rows: int) -> Tensor:
    """Template tokens (rows, 0, C) for `SynchronousBackbone` where there are none; ``like`` has C at its end."""
    return torch.zeros(rows, 0, like.shape[-1], dtype=like.dtype, device=like.device)
