"""The one-stream encoder with a centre head: where in its view a target is, and how large (OSTrack, ECCV 2022)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from scenegraph_track.target.heads import CentreHead, CentreMaps
from scenegraph_track.target.one_stream import OneStreamEncoder, OneStreamOutput


@dataclass(frozen=True, eq=False)
class OneStreamResponse:
    """The response to B targets in their views.

    Args:
        maps: Of the head: score, size and offset for each cell of the search view.
        query: (B, 1, C) the query token behind the encoder, which the next frame's starts from; None without one.
        output: Of the encoder.
    """

    maps: CentreMaps
    query: Tensor | None
    output: OneStreamOutput


class OneStreamNetwork(nn.Module):
    """The encoder and a head.

    With a query token, the features of the search view are weighted by their products with it, and the query of the
    next frame starts from it (ODTrack, Zheng et al., AAAI 2024).  It is given from call to call and never kept here.

    Args:
        encoder: `OneStreamEncoder` with our small network where None.
        head: Takes features (B, C, h, w); a `CentreHead` where None.
        query: Whether there is a query token.
    """

    def __init__(
        self, encoder: OneStreamEncoder | None = None, head: nn.Module | None = None, query: bool = False
    ) -> None:
        super().__init__()
        self.encoder = OneStreamEncoder() if encoder is None else encoder
        self.head = CentreHead(self.encoder.width) if head is None else head
        self.query = nn.Parameter(torch.empty(1, 1, self.encoder.width)) if query else None
        if query:
            nn.init.trunc_normal_(self.query, std=0.02)

    def forward(
        self,
        templates: Tensor,
        search: Tensor,
        query: Tensor | None = None,
        prompts: Tensor | None = None,
        reference: Tensor | None = None,
        keep: float | None = None,
        attention: bool = False,
    ) -> OneStreamResponse:
        """The response to targets; see `OneStreamEncoder.forward` for what is not named here.

        Args:
            templates: (B, M, 3, Hz, Wz).
            search: (B, 3, H, W).
            query: (B, 1, C) of the response to the frame before, from which no gradient flows back; None in the first.
            prompts: (B, P, C) further context tokens, behind the query.
            reference: (B, M, hz, wz).
            keep: As there.
            attention: As there.
        """
        context = [] if prompts is None else [prompts]
        if self.query is not None:
            own = self.query.expand(len(search), -1, -1)
            context.insert(0, own if query is None else own + query.detach())
        output = self.encoder(templates, search, torch.cat(context, 1) if context else None, reference, keep, attention)
        features, behind = output.search, None
        if self.query is not None:
            behind = output.context[:, :1]
            features = features * torch.einsum("bchw,bqc->bqhw", features, behind)
        return OneStreamResponse(self.head(features), behind, output)
