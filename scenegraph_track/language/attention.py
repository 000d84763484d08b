"""Attention of one set of tokens to another, of which some may not be there."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from scenegraph_track.errors import UserError


class CrossAttention(nn.Module):
    """Attention with several heads from queries to keys of any widths.

    Args:
        dim: Of the queries and of the result.
        other: Of the tokens that are attended to.
        heads: Their number; it divides ``dim``.

    Raises:
        UserError: The heads do not divide the width.
    """

    def __init__(self, dim: int, other: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise UserError(f"attention: expected heads that divide the width {dim}, found {heads}")
        self.heads = heads
        self.query_norm, self.key_norm = nn.LayerNorm(dim), nn.LayerNorm(other)
        self.query, self.key_value = nn.Linear(dim, dim), nn.Linear(other, 2 * dim)
        self.out = nn.Linear(dim, dim)

    def forward(self, queries: Tensor, others: Tensor, there: Tensor | None = None) -> Tensor:
        """What the queries gather.

        Args:
            queries: (B, N, dim).
            others: (B, M, other).
            there: (B, M) bool, whether a token may be attended to; at least one of each row. None: all may.

        Returns:
            (B, N, dim).
        """
        q = self.query(self.query_norm(queries)).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        keys, values = self.key_value(self.key_norm(others)).unflatten(-1, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mask = None if there is None else there[:, None, None]
        return self.out(scaled_dot_product_attention(q, keys, values, attn_mask=mask).transpose(1, 2).flatten(2))
