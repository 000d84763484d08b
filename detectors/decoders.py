"""From slots to soft masks, and to what the slots say that the image shows there.

All decoders are called alike, ``decoder(slots, features=..., positions=...)``, take what they need of the two and
return ``(reconstruction (B, N, D) or None, masks (B, K, N))``; masks sum to 1 over the slots.  The number of slots and
of positions is free from call to call, so a decoder trained on coarse maps can be asked for finer ones.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from detectors.errors import DetectorError
from detectors.slot_attention import FOURIER, fourier_features


def _mlp(*channels: int) -> nn.Sequential:
    """Linear layers with a ReLU before each but the first; nothing for a single number of channels."""
    layers = [layer for a, b in pairwise(channels) for layer in (nn.ReLU(), nn.Linear(a, b))]
    return nn.Sequential(*layers[1:])


class MaskDecoder(nn.Module):
    """Masks by likeness of slots and features: ``softmax_k(<W s_k, F_p> / temperature)``.

    Args:
        dim_slot: Channels of the slots.
        dim_feature: Channels of the features.
        temperature: None for ``sqrt(dim_feature)``.
        dim_out: Channels D of a reconstruction, in which every slot is one learned vector wherever its mask is; None
            for no reconstruction.
    """

    def __init__(
        self, dim_slot: int, dim_feature: int, temperature: float | None = None, dim_out: int | None = None
    ) -> None:
        super().__init__()
        self.project = nn.Linear(dim_slot, dim_feature, bias=False)
        self.temperature = math.sqrt(dim_feature) if temperature is None else temperature
        self.value = None if dim_out is None else nn.Linear(dim_slot, dim_out)

    def forward(
        self, slots: Tensor, features: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor | None, Tensor]:
        """Masks of slots over features.

        Args:
            slots: (B, K, dim_slot).
            features: (B, N, dim_feature).
            positions: Not used.

        Returns:
            The reconstruction (B, N, D) or None, and masks (B, K, N).
        """
        if features is None:
            raise DetectorError("MaskDecoder needs features")
        masks = (self.project(slots) @ features.transpose(1, 2) / self.temperature).softmax(1)
        return (None if self.value is None else masks.transpose(1, 2) @ self.value(slots)), masks


class _PositionDecoder(nn.Module):
    """A decoder that asks for positions, which its layer ``position`` embeds."""

    position: nn.Linear

    def forward(
        self, slots: Tensor, features: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Reconstruction and masks at positions.

        Args:
            slots: (B, K, dim_slot).
            features: Not used.
            positions: (N, 2) in [0, 1].

        Returns:
            The reconstruction (B, N, D) and masks (B, K, N).
        """
        if positions is None:
            raise DetectorError(f"{type(self).__name__} needs positions")
        return self._decode(slots, self.position(fourier_features(positions.to(self.position.weight.dtype))))

    def _decode(self, slots: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """The same from embedded positions (N, C)."""
        raise NotImplementedError


class BroadcastDecoder(_PositionDecoder):
    """Spatial broadcast: an MLP turns each slot at each position into features and a logit, mixed by softmax.

    The decoder of DINOSAUR (Seitzer et al., 2023), with an embedding of continuous positions in place of one vector
    for each patch.  Its first layer acts on slot and position apart and its last one on the mixed features, which are
    the same sums with fewer products.  Costs grow with ``K * N * hidden^2``.

    Args:
        dim_slot: Channels of the slots.
        dim_out: Channels D of the reconstruction.
        hidden: Channels of the hidden layers (published recipes: 1024 or 2048).
        layers: Number of hidden layers.
    """

    def __init__(self, dim_slot: int, dim_out: int, hidden: int = 256, layers: int = 3) -> None:
        super().__init__()
        self.slot = nn.Linear(dim_slot, hidden)
        self.position = nn.Linear(FOURIER, hidden, bias=False)
        self.hidden = _mlp(*[hidden] * layers)
        self.alpha = nn.Linear(hidden, 1)
        self.out = nn.Linear(hidden, dim_out)

    def _decode(self, slots: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        x = relu(self.hidden(relu(self.slot(slots)[:, :, None] + where)))
        masks = self.alpha(x).squeeze(-1).softmax(1)
        return self.out(torch.einsum("bkn,bknc->bnc", masks, x)), masks


class _Allocation(nn.Module):
    """Positions ask the slots: cross-attention and an MLP, each behind a layer norm and around it a residual."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor, slots: Tensor) -> Tensor:
        x = x + self.attention(self.norm(x), slots, slots, need_weights=False)[0]
        return x + self.mlp(x)


class SlotMixerDecoder(_PositionDecoder):
    """Slot mixer: each position first finds its mixture of slots, then one MLP renders the mixed slot.

    After Sajjadi et al., "Object Scene Representation Transformer" (2022): an allocator, in which positions attend to
    slots and not to each other; mixing weights from scalar products of its output with the slots; a renderer.  The
    renderer runs once for each position, not once for each slot, which makes it the fastest at many slots.

    Args:
        dim_slot: Channels of the slots.
        dim_out: Channels D of the reconstruction; VideoSAUR adds one for each patch to predict where it moves.
        hidden: Channels of the renderer's hidden layers (published recipe: 1024).
        layers: Number of those.
        blocks: Blocks of the allocator.
        heads: Heads of its attention.
    """

    def __init__(
        self, dim_slot: int, dim_out: int, hidden: int = 256, layers: int = 3, blocks: int = 3, heads: int = 4
    ) -> None:
        super().__init__()
        if dim_slot % heads:
            raise DetectorError(f"slots of {dim_slot} channels cannot be split into {heads} heads")
        self.position = nn.Linear(FOURIER, dim_slot)
        self.norm = nn.LayerNorm(dim_slot)
        self.allocator = nn.ModuleList(_Allocation(dim_slot, heads) for _ in range(blocks))
        self.query = nn.Sequential(nn.LayerNorm(dim_slot), nn.Linear(dim_slot, dim_slot, bias=False))
        self.key = nn.Linear(dim_slot, dim_slot, bias=False)
        self.renderer = _mlp(dim_slot, *[hidden] * layers, dim_out)

    def _decode(self, slots: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        slots, x = self.norm(slots), where.expand(len(slots), -1, -1)
        for block in self.allocator:
            x = block(x, slots)
        masks = (self.key(slots) @ self.query(x).transpose(1, 2) * slots.shape[-1] ** -0.5).softmax(1)
        return self.renderer(masks.transpose(1, 2) @ slots + where), masks
