"""How tracks are carried from one window of frames to the next."""

from __future__ import annotations

import torch
from torch import Tensor

from geometry.camera import sample
from scenegraph_track.occlusion.point_net import Supposed
from scenegraph_track.occlusion.sight import Sight
from scenegraph_track.occlusion.templates import settle

FIRST_VISIBLE, FIRST_CONFIDENT = 1.0, 1.0
"""Logits that stand for a point before anything is known of it."""


def begin(
    positions: Tensor, first: Tensor, frames: int, sight: Sight | None, before: Supposed | None = None
) -> tuple[Supposed, Tensor, Tensor]:
    """What is supposed of points in a window before it is looked at.

    Args:
        positions: (B, N, 2) pixels where the points are given.
        first: (B, N) numbers of the frames of the window in which that is; negative: before the window.
        frames: T of the window.
        sight: Along its flow points are moved on, and settle where their templates fit; None: they stay.
        before: (B, N, t) what is known of the first t frames of this window, for points with a negative ``first``.

    Returns:
        What is supposed (B, N, T), ``known`` and ``given`` of `PointNet`.
    """
    batch, count = positions.shape[:2]
    times = torch.arange(frames, device=positions.device)
    known, given = times >= first[..., None], times == first[..., None]
    place = positions.clone()
    places, visible, confident = [], [], []
    overlap = 0 if before is None else before.positions.shape[2]
    old = (first < 0)[..., None]
    logit = positions.new_full((batch, count), FIRST_VISIBLE)
    sure = positions.new_full((batch, count), FIRST_CONFIDENT)
    for t in range(frames):
        if t and sight is not None and not (t < overlap and bool(old.all())):
            moved = place if sight.flows is None else _moved(place, sight.flows[:, t - 1, :2])
            moved = settle(sight.greys[:, t], sight.templates, moved)
            place = torch.where((times[t] > first)[..., None], moved, positions)
        if before is not None and t < overlap:
            place = torch.where(old, before.positions[:, :, t], place)
            logit = torch.where(old[..., 0], before.visible[:, :, t], logit)
            sure = torch.where(old[..., 0], before.confident[:, :, t], sure)
        places.append(place)
        visible.append(logit)
        confident.append(sure)
    made = Supposed(torch.stack(places, 2), torch.stack(visible, 2), torch.stack(confident, 2))
    return made, known, given


def _moved(places: Tensor, flow: Tensor) -> Tensor:
    """Places (B, N, 2) moved on along flow (B, 2, H, W)."""
    return places + sample(flow, places.transpose(1, 2)[..., None])[..., 0].transpose(1, 2)
