"""Where an object's surface is from frame to frame: an affine view that optical flow carries along (ours).

A *place* of an object is in half sides of the box in which it was given: the box is the square from -1 to 1, x right
and y down.  A pose says where places are in a frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from geometry.camera import sample

HELD = (4.0, 4.0, 0.5)
"""How much the motion before holds matrix and middle of a pose, in places whose flow is sure, of 24."""

_ROUNDS = 5
_CLOSE, _CLOSE_SHARE = 2.0, 0.04
"""Pixels, and part of the object's size, within which flow agrees with a motion."""

_LEAST, _MOST = 0.15, 6.0
"""Area of an object in that of its first box; poses beyond are not believed."""

_SAME = 4e-4
"""Product of deviations of greys in [0, 1] below which surfaces are all alike."""


class Pose(NamedTuple):
    """Where O objects are in a frame: a place u is at ``matrix @ (half * u) + middle``, pixels.

    Args:
        matrix: (O, 2, 2).
        middle: (O, 2).
        half: (O, 2) half sides of the boxes in which the objects were given, pixels.
        speed: (O, 2) pixels a frame.
    """

    matrix: Tensor
    middle: Tensor
    half: Tensor
    speed: Tensor

    @property
    def unit(self) -> Tensor:
        """(O,) mean half side when the objects were given, pixels."""
        return self.half.prod(1).sqrt()

    @property
    def grown(self) -> Tensor:
        """(O,) area in that of the box in which they were given."""
        return torch.linalg.det(self.matrix)

    def at(self, places: Tensor) -> Tensor:
        """Pixels (O, h, w, 2) of places (h, w, 2)."""
        from_middle = (places * self.half[:, None, None]) @ self.matrix.transpose(1, 2)[:, None]
        return from_middle + self.middle[:, None, None]

    def of(self, pixels: Tensor) -> Tensor:
        """Places (O, 2) of pixels (O, 2)."""
        return torch.linalg.solve(self.matrix, (pixels - self.middle)[..., None])[..., 0] / self.half


def begin_pose(boxes: Tensor) -> Pose:
    """Of objects in boxes (O, 4) xyxy, which stand still so far; boxes are at least 4 pixels wide and high."""
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=2.0)
    matrix = torch.eye(2, device=boxes.device).expand(len(boxes), 2, 2).clone()
    return Pose(matrix, (boxes[:, :2] + boxes[:, 2:]) / 2, half, torch.zeros_like(half))


def grid(side: int, reach: float) -> Tensor:
    """Places (side, side, 2) of the cells of a square from -reach to reach."""
    along = ((torch.arange(side) + 0.5) / side * 2 - 1) * reach
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def reduced(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Images (B, C, H, W) at full, half and quarter resolution."""
    half = avg_pool2d(images, 2, ceil_mode=True)
    return images, half, avg_pool2d(half, 2, ceil_mode=True)


def looked_up(maps: Sequence[Tensor], pixels: Tensor, clip: Tensor, level: Tensor | None = None) -> Tensor:
    """Values (O, C, h, w) of maps at pixels (O, h, w, 2).

    Args:
        maps: (B, C, H, W), each of half the resolution of the one before.
        pixels: Of the first of them.
        clip: (O,) which of the B an object is in.
        level: (O,) which resolution is asked; None: the first.
    """
    level = torch.zeros_like(clip) if level is None else level
    found = pixels.new_empty(len(pixels), maps[0].shape[1], *pixels.shape[1:3])
    for number in (clip * len(maps) + level).unique().tolist():
        which, scale = divmod(number, len(maps))
        rows = ((clip == which) & (level == scale)).nonzero()[:, 0]
        at = (pixels[rows] / 2**scale).flatten(0, 1).permute(2, 0, 1)[None]
        values = sample(maps[scale][which : which + 1], at)[0]
        found[rows] = values.unflatten(1, (len(rows), -1)).transpose(0, 1)
    return found


def alike(image: Tensor, other: Tensor, side: int = 5) -> Tensor:
    """Normalised cross-correlation (B, 1, h, w) of the surroundings of each pixel of greys (B, 1, h, w) in [0, 1]."""

    def mean(values: Tensor) -> Tensor:
        return avg_pool2d(values, side, 1, side // 2, count_include_pad=False)

    one, two = mean(image), mean(other)
    spread = ((mean(image**2) - one**2).clamp(min=0) * (mean(other**2) - two**2).clamp(min=0)).sqrt()
    return (mean(image * other) - one * two) / (spread + _SAME)


def carried(pose: Pose, places: Tensor, after: Tensor, weight: Tensor) -> tuple[Pose, Tensor]:
    """The pose in the next frame, by where optical flow leads the places of an object.

    Least squares, reweighted by how far each place is from the motion of all (Cauchy), and held by the pose so far and
    its speed, which alone decide where no place counts.

    Args:
        pose: Before.
        places: (P, 2).
        after: (O, P, 2) where the flow leads them, pixels.
        weight: (O, P) how much each counts, at most 1.

    Returns:
        The pose, and the part (O,) of the weights that agrees with it.
    """
    unit = pose.unit[:, None, None]
    start = places * pose.half[:, None]
    known = torch.cat([start / unit, torch.ones_like(start[..., :1])], -1)  # O, P, 3
    matrix, middle = pose.matrix, pose.middle + pose.speed
    held = torch.tensor(HELD, device=start.device)
    prior = held[:, None] * torch.cat([matrix.transpose(1, 2) * unit, middle[:, None]], 1)
    weight = weight * (24 / weight.shape[1])
    close = _CLOSE + _CLOSE_SHARE * pose.unit[:, None]
    counted = weight
    for number in range(_ROUNDS):
        apart = (start @ matrix.transpose(1, 2) + middle[:, None] - after).norm(dim=-1)
        counted = weight / (1 + (apart / close) ** 2) ** (1 if number else 0.5)
        left = torch.einsum("opi,op,opj->oij", known, counted, known) + held.diag()
        right = torch.einsum("opi,op,opj->oij", known, counted, after) + prior
        solved = torch.linalg.solve(left, right)
        matrix, middle = solved[:, :2].transpose(1, 2) / unit, solved[:, 2]
    grown = torch.linalg.det(matrix)
    matrix = torch.where(((grown > _LEAST) & (grown < _MOST))[:, None, None], matrix, pose.matrix)
    sure = (counted.sum(1) > 2)[:, None]
    speed = torch.where(sure, (pose.speed + middle - pose.middle) / 2, 0.95 * pose.speed)
    return Pose(matrix, middle, pose.half, speed), counted.sum(1) / weight.sum(1).clamp(min=1e-6)


def corrected(pose: Pose, shift: Tensor, growth: Tensor) -> Pose:
    """A pose moved by (O, 2) places, of which the sides are longer by the factors (O,)."""
    moved = (pose.matrix @ (shift * pose.half)[..., None])[..., 0]
    return pose._replace(matrix=pose.matrix * growth[:, None, None], middle=pose.middle + moved)
