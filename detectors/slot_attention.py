"""Slot attention: a few slots compete for the features of an image, so that each comes to stand for one object.

After Locatello et al., "Object-Centric Learning with Slot Attention" (2020), from the equations.  In each iteration
the features are shared out among the slots (softmax over *slots*), every slot takes the mean of its share (weights
renormalised over *inputs*), and a GRU with a residual MLP moves the slot towards it.  The GRU gets the slots
themselves as its state, as in that paper, not their layer norm.  Nothing here knows about time: a video passes the
slots of the frame before, moved on by `SlotPredictor` (Kipf et al., "SAVi", 2022) or by a tracker.
"""

from __future__ import annotations

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from detectors.errors import DetectorError

Init = Literal["learned", "random", "grid"]
"""How slots start in a first frame; see `SlotAttention`."""

EPSILON = 1e-8
"""Added to every share of attention before it is renormalised over the inputs."""

OCTAVES = 4
"""Frequencies of `fourier_features` of each coordinate."""

FOURIER = 2 + 4 * OCTAVES
"""Channels of `fourier_features`."""


def grid_positions(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Centres of the cells of a map, row by row: (height * width, 2) with x and y in [0, 1]."""
    y = (torch.arange(height, device=device) + 0.5) / height
    x = (torch.arange(width, device=device) + 0.5) / width
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).reshape(-1, 2)


def grid_centres(count: int) -> Tensor:
    """Points spread over the unit square in ``round(sqrt(count))`` rows, the first rows fuller: (count, 2)."""
    rows = max(1, round(math.sqrt(count)))
    filled = [count // rows + (row < count % rows) for row in range(rows)]
    points = [[(column + 0.5) / n, (row + 0.5) / rows] for row, n in enumerate(filled) for column in range(n)]
    return torch.tensor(points, dtype=torch.float32).reshape(-1, 2)


def fourier_features(positions: Tensor) -> Tensor:
    """Positions (..., 2) in [0, 1] with sine and cosine of `OCTAVES` frequencies from half a period on: (..., 18)."""
    frequencies = math.pi * 2.0 ** torch.arange(OCTAVES, device=positions.device, dtype=positions.dtype)
    angles = (positions[..., None] * frequencies).flatten(-2)
    return torch.cat([positions, angles.sin(), angles.cos()], -1)


class SlotAttention(nn.Module):
    """Slots from features, by iterated competition.

    How slots start where none are given:

    - ``learned``: one learned vector for each slot (as SlotContrast, Manasyan et al., 2025);
    - ``random``: drawn from one learned Gaussian (Locatello et al., 2020; VideoSAUR, Zadaianchuk et al., 2023);
    - ``grid``: slot 0 is a learned background slot; the others share one learned vector, each with the embedding of
      its own point of a grid over the image, jittered in training, and prefer inputs around that point at first.

    Args:
        dim_in: Channels of the features.
        dim: Channels of the slots.
        slots: Number of slots that start in a first frame.
        iterations: Rounds of competition unless a call says otherwise.
        init: See above.
        heads: Heads of the attention; slots and heads compete in one softmax.
        input_hidden: Hidden channels of an MLP from ``dim_in`` to ``dim`` before keys and values; 0 for no MLP.
        slot_hidden: Hidden channels of the residual MLP behind the GRU; None for ``4 * dim``, 0 for no MLP.
        embed_positions: Add a learned linear map of `fourier_features` of the positions to the features (as SAVi does
            with linear ramps), for features that do not say where they are.
        prior_width: Standard deviation s of the position prior, whose logits are ``-|x - p|^2 / (2 s^2)`` for an input
            at x and a slot around p, as a share of the image.
        prior_iterations: The first iterations in which the prior holds; after that the slots are free.
        jitter: Largest shift of a point of the grid in training, as a share of the grid's spacing.
    """

    def __init__(
        self,
        dim_in: int,
        dim: int = 64,
        slots: int = 10,
        iterations: int = 3,
        init: Init = "learned",
        heads: int = 1,
        input_hidden: int = 0,
        slot_hidden: int | None = None,
        embed_positions: bool = False,
        prior_width: float = 0.2,
        prior_iterations: int = 1,
        jitter: float = 0.3,
    ) -> None:
        super().__init__()
        if init not in get_args(Init):
            raise DetectorError(f"slots start as one of {', '.join(get_args(Init))}, not {init}")
        if slots < 1 + (init == "grid"):
            raise DetectorError(f"{slots} slots are too few for the start {init}")
        if dim % heads:
            raise DetectorError(f"slots of {dim} channels cannot be split into {heads} heads")
        self.dim, self.slots, self.iterations, self.init, self.heads = dim, slots, iterations, init, heads
        self.prior_width, self.prior_iterations, self.jitter = prior_width, prior_iterations, jitter
        self.position = nn.Linear(FOURIER, dim_in) if embed_positions else None
        self.input = nn.LayerNorm(dim_in)
        if input_hidden:
            layers = [nn.Linear(dim_in, input_hidden), nn.ReLU(), nn.Linear(input_hidden, dim), nn.LayerNorm(dim)]
            self.input = nn.Sequential(self.input, *layers)
        self.key_value = nn.Linear(dim if input_hidden else dim_in, 2 * dim, bias=False)
        self.query = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim, bias=False))
        self.gru = nn.GRUCell(dim, dim)
        hidden = 4 * dim if slot_hidden is None else slot_hidden
        self.mlp = None
        if hidden:
            self.mlp = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.ReLU(), nn.Linear(hidden, dim))
        vectors = {"learned": slots, "random": 1, "grid": 2}[init]
        self.start = nn.Parameter(torch.randn(vectors, dim) * dim**-0.5)
        if init == "random":
            self.log_sigma = nn.Parameter(torch.full((dim,), -0.5 * math.log(dim)))
        if init == "grid":
            self.place = nn.Linear(FOURIER, dim)
            self.register_buffer("centres", grid_centres(slots - 1), persistent=False)

    def initial_slots(self, batch: int, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor | None]:
        """Slots of a first frame.

        Args:
            batch: Number of images.
            generator: Of the noise of ``random`` and of the jitter of ``grid`` in training.

        Returns:
            Slots (batch, K, dim), and for ``grid`` the points that they start around, (batch, K, 2) in [0, 1] with NaN
            for the background slot; None for the others.
        """
        if self.init == "learned":
            return self.start.expand(batch, -1, -1), None
        if self.init == "random":
            shape = (batch, self.slots, self.dim)
            noise = torch.randn(shape, generator=generator, device=self.start.device, dtype=self.start.dtype)
            return self.start + self.log_sigma.exp() * noise, None
        points = self.centres.to(self.start.dtype).expand(batch, -1, -1)
        if self.training and self.jitter:
            shift = 2 * torch.rand(points.shape, generator=generator, device=points.device, dtype=points.dtype) - 1
            points = points + shift * self.jitter / math.sqrt(self.slots - 1)
        background = self.start[:1].expand(batch, 1, -1)
        slots = torch.cat([background, self.start[1] + self.place(fourier_features(points))], 1)
        return slots, torch.cat([points.new_full((batch, 1, 2), torch.nan), points], 1)

    def forward(
        self,
        features: Tensor,
        slots: Tensor | None = None,
        positions: Tensor | None = None,
        iterations: int | None = None,
        centres: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Slots and their shares of the features.

        Args:
            features: (B, N, dim_in).
            slots: (B, K, dim) of the frame before, of any number K, or None for a first frame.
            positions: (N, 2) x and y of the features in [0, 1] (`grid_positions`); needed for ``embed_positions``, for
                the start ``grid`` and for ``centres``.
            iterations: Another number of iterations, at least 1: two are enough for slots of the frame before.
            centres: (B, K, 2) points in [0, 1] that the slots are expected around, for instance where a tracker
                predicts them, NaN for slots without; in place of the grid's.
            generator: See `initial_slots`.

        Returns:
            Slots (B, K, dim), and the attention of the last iteration (B, K, N), which sums to 1 over the slots: soft
            masks.

        Raises:
            DetectorError: Positions are missing, or there is no iteration to do.
        """
        rounds = self.iterations if iterations is None else iterations
        if rounds < 1:
            raise DetectorError(f"slot attention needs at least one iteration, not {rounds}")
        if slots is None:
            slots, grid = self.initial_slots(len(features), generator)
            centres = grid if centres is None else centres
        if positions is None and (centres is not None or self.position is not None):
            raise DetectorError("slot attention needs the positions of the features here")
        if self.position is not None:
            features = features + self.position(fourier_features(positions.to(features.dtype)))
        keys, values = self._heads(self.key_value(self.input(features)), 2)
        prior = None if centres is None else self._prior(centres, positions)
        for i in range(rounds):
            slots, attention = self._step(slots, keys, values, prior if i < self.prior_iterations else None)
        return slots, attention

    def _heads(self, x: Tensor, parts: int = 1) -> Tensor:
        """(B, N, parts * dim) as (parts, B, heads, N, dim / heads)."""
        return x.unflatten(-1, (parts, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def _prior(self, centres: Tensor, positions: Tensor) -> Tensor:
        """Logits (B, K, N) of the position prior, 0 for slots without a centre."""
        known = centres.isfinite().all(-1, keepdim=True)
        squared = (torch.where(known, centres, 0)[:, :, None] - positions).square().sum(-1)
        return torch.where(known, squared / (-2 * self.prior_width**2), 0)

    def _step(self, slots: Tensor, keys: Tensor, values: Tensor, prior: Tensor | None) -> tuple[Tensor, Tensor]:
        """One iteration: new slots (B, K, dim) and the attention (B, K, N) of the old ones."""
        logits = self._heads(self.query(slots))[0] @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5
        if prior is not None:
            logits = logits + prior[:, None]
        shares = logits.flatten(1, 2).softmax(1).view_as(logits)
        weights = shares + EPSILON
        means = (weights @ values) / weights.sum(-1, keepdim=True)
        updates = means.transpose(1, 2).flatten(2)
        new = self.gru(updates.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
        if self.mlp is not None:
            new = new + self.mlp(new)
        return new, shares.sum(1)


class SlotPredictor(nn.Module):
    """What the slots of one frame will be in the next: a transformer over slots (SAVi, Kipf et al., 2022).

    Args:
        dim: Channels of the slots.
        heads: Heads of its attention.
        blocks: Number of blocks.
        hidden: Hidden channels of its MLPs; None for ``4 * dim``.
    """

    def __init__(self, dim: int, heads: int = 4, blocks: int = 1, hidden: int | None = None) -> None:
        super().__init__()
        if dim % heads:
            raise DetectorError(f"slots of {dim} channels cannot be split into {heads} heads")
        options = {"dropout": 0.0, "activation": "gelu", "batch_first": True, "norm_first": True}
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(dim, heads, hidden or 4 * dim, **options) for _ in range(blocks))
        )

    def forward(self, slots: Tensor) -> Tensor:
        """Slots (B, K, dim) to slots (B, K, dim); their order is kept, and no order is assumed."""
        return self.blocks(slots)
