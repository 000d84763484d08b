"""One-to-one matching with the options to stay alone, made differentiable."""

from __future__ import annotations

from torch import Tensor

from scenegraph_track.graph.message_passing import LIMIT, total


def sparse_sinkhorn(
    logits: Tensor, edge_index: Tensor, none: Tensor, new: Tensor, iterations: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Probabilities of a partial matching over candidate edges.

    The weights :math:`K_{ij} = e^{l_{ij}}`, with :math:`e^{n_i}` for a row that stays alone and :math:`e^{m_j}` for a
    column that does, are scaled by :math:`a_i` and :math:`b_j` until each row with its own option, and each column with
    its own, sums to 1 (Sinkhorn and Knopp, 1967; options as the dustbins of SuperGlue: Sarlin et al., CVPR 2020)::

        a_i = 1 / (sum_j K_ij b_j + e^{n_i})        b_j = 1 / (sum_i K_ij a_i + e^{m_j})

    They begin with the solution for columns whose rows look like themselves, which is exact for a pair without rivals.

    Args:
        logits: (E, ...) of the edges; further axes are matchings of their own.
        edge_index: (2, E) rows over columns.
        none: (N, ...) logits of rows that stay alone.
        new: (M, ...) of columns that do.
        iterations: Scalings of both sides; columns are exact, rows nearly.

    Returns:
        Probabilities of the edges (E, ...), of rows that stay alone (N, ...) and of such columns (M, ...).
    """
    row, column = edge_index[0], edge_index[1]
    weight = logits.clamp(-LIMIT, LIMIT).exp()
    alone, other = none.clamp(-LIMIT, LIMIT).exp(), new.clamp(-LIMIT, LIMIT).exp()
    strength = total(weight, column, other.shape[0])
    b = 2 / (other + (other**2 + 4 * strength).sqrt())
    a = alone
    for _ in range(iterations):
        a = 1 / (total(weight * b[column], row, alone.shape[0]) + alone)
        b = 1 / (total(weight * a[row], column, other.shape[0]) + other)
    return weight * a[row] * b[column], alone * a, other * b
