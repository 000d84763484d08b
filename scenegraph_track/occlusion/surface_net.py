"""What can be seen of an object's surface, in a view that goes along with it (ours).

Points on an object say little about the part of it that can be seen: a few of them miss what is stuck to it, and those
that something hides go along with that.  Here the object is looked at as a whole.  Its view is carried along by optical
flow, by the parts of the surface that were seen to belong to it; a small convolutional network with a memory compares
it with what was there at first, says of each cell whether it is the object's and whether it is seen, and where in the
view the object is if not in its middle (by correlation, as Siamese trackers do), by which the view is corrected.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, interpolate, normalize, pad

from scenegraph_track.occlusion.surface import (
    Pose,
    alike,
    begin_pose,
    carried,
    corrected,
    grid,
    looked_up,
    reduced,
)

SIDE, REACH, CELLS = 48, 2.0, 12
"""Samples along a view, its half side in half boxes, and cells along the box, each of two samples."""

_PRIOR = 0.7
"""Deviation of where in its box an object is believed to be before anything is seen, half boxes."""

_GROWTH, _GROWTH_SHARE = 0.5, 0.3
"""Largest logarithm of a correction of sides, and the part of it that is believed at once."""

_INNER = slice(CELLS // 2, CELLS // 2 + CELLS)
"""The box among the cells of the view."""


class SurfaceNetSettings(BaseModel):
    """Sizes of a `SurfaceNet`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    first: int = Field(24, ge=4, description="channels at a quarter of the view's resolution and beside the maps")
    width: int = Field(32, ge=4, description="channels of what goes to the maps")
    deep: int = Field(48, ge=4, description="channels of what goes to the memory")
    hidden: int = Field(32, ge=4, description="channels of the memory")
    look: int = Field(16, ge=4, description="channels of the features that find the object in its view")


class Surfaces(NamedTuple):
    """What is carried on of O objects.

    Args:
        pose: In the last frame.
        first: (O, 5, SIDE, SIDE) the view when they were given: red, green, blue, grey in [0, 1]; where they were.
        belief: (O, 2, CELLS, CELLS) probability that a cell is seen, and that it is the object's.
        memory: (O, H, CELLS, CELLS) of the network.
        fraction: (O,) visible part.
        age: (O,) frames since they were given.
    """

    pose: Pose
    first: Tensor
    belief: Tensor
    memory: Tensor
    fraction: Tensor
    age: Tensor


class SurfacesSeen(NamedTuple):
    """What a frame shows of O objects.

    Args:
        fraction: (O,) visible part, 0 to 1.
        visible: (O, CELLS, CELLS) logits of a cell of the object being seen.
        member: (O, CELLS, CELLS) logits of a cell being the object's, and not of what was round it in its box.
        where: (O, 2 CELLS + 1, 2 CELLS + 1) logarithms of the probability that its middle is at `shifts`.
        shift: (O, 2) the mean of that, by which its middle is off that of ``pose``.
        growth: (O,) logarithm by which its sides are longer.
        pose: That they are looked at with, by flow alone.
    """

    fraction: Tensor
    visible: Tensor
    member: Tensor
    where: Tensor
    shift: Tensor
    growth: Tensor
    pose: Pose


class SurfaceNet(nn.Module):
    """See the module; objects are rows, and share nothing.

    Args:
        settings: Sizes.
    """

    def __init__(self, settings: SurfaceNetSettings | None = None) -> None:
        super().__init__()
        self.settings = s = settings or SurfaceNetSettings()
        for name, side, reach in (("view", SIDE, REACH), ("coarse", SIDE // 2, REACH), ("box", CELLS, 1.0)):
            self.register_buffer(name, grid(side, reach), persistent=False)
        self.register_buffer("mix", torch.tensor([0.299, 0.587, 0.114])[:, None, None], persistent=False)
        self.register_buffer("shifts", shifts(), persistent=False)
        self.look = nn.Sequential(nn.Conv2d(3, s.look, 5, 2, 2), nn.ReLU(), nn.Conv2d(s.look, s.look, 3, 1, 1))
        self.sharp = nn.Parameter(torch.tensor(8.0))
        self.e1 = nn.Sequential(nn.Conv2d(10, s.first, 5, 2, 2), nn.ReLU())
        self.e2 = nn.Sequential(nn.Conv2d(s.first + 7, s.width, 3, 1, 1), nn.ReLU())
        self.e3 = nn.Sequential(
            nn.Conv2d(s.width, s.deep, 3, 2, 1), nn.ReLU(), nn.Conv2d(s.deep, s.deep, 3, 1, 1), nn.ReLU()
        )
        self.scalars = nn.Linear(6, s.deep)
        self.gates = nn.Conv2d(s.deep + s.hidden, 2 * s.hidden, 3, 1, 1)
        self.new = nn.Conv2d(s.deep + s.hidden, s.hidden, 3, 1, 1)
        self.up = nn.Sequential(nn.Conv2d(s.width + s.hidden, s.first, 3, 1, 1), nn.ReLU())
        self.maps, self.heat = nn.Conv2d(s.first, 2, 3, 1, 1), nn.Conv2d(s.first, 1, 2, 1, 1)
        self.whole = nn.Sequential(nn.Linear(3 * s.hidden + 3, 48), nn.ReLU(), nn.Linear(48, 2))
        for last in (self.whole[-1], self.maps, self.heat):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def begin(self, images: Tensor, boxes: Tensor, clip: Tensor) -> Surfaces:
        """Objects that are given.

        Args:
            images: (B, 3, H, W) in [0, 1].
            boxes: (O, 4) xyxy pixels.
            clip: (O,) which of the images each is in.
        """
        pose, count = begin_pose(boxes), len(boxes)
        view = self._view(images, pose, clip)
        prior = _bell(self.view).expand(count, 1, SIDE, SIDE)
        member = _bell(self.box).expand(count, CELLS, CELLS)
        return Surfaces(
            pose,
            torch.cat([view[:, :4], prior], 1),
            torch.stack([torch.ones_like(member), member], 1),
            view.new_zeros(count, self.settings.hidden, CELLS, CELLS),
            view.new_ones(count),
            view.new_zeros(count),
        )

    def forward(self, before: Surfaces, images: Tensor, flows: Tensor, clip: Tensor) -> tuple[Surfaces, SurfacesSeen]:
        """The next frame.

        Gradients reach the memory through time, and not the poses and beliefs.

        Args:
            before: Of the frame before.
            images: (B, 3, H, W) in [0, 1].
            flows: (B, 4, H, W) from the frame before to this one and back, pixels (`sight.both_ways`).
            clip: (O,) which of the B each object is in.
        """
        with torch.no_grad():
            pose, looks, moves, numbers = self._looked(before, images, flows, clip)
        found = self._correlated(looks, before.belief[:, 1])
        parts = [self.e1(looks), avg_pool2d(found[:, None], 2, 1), moves, pad(before.belief, (CELLS // 2,) * 4)]
        fine = self.e2(torch.cat(parts, 1))
        deep = self.e3(fine) + self.scalars(numbers)[:, :, None, None]
        memory = self._remembered(deep, before.memory)
        up = self.up(torch.cat([fine, interpolate(memory, scale_factor=2, mode="nearest")], 1))
        visible, member = self.maps(up)[..., _INNER, _INNER].unbind(1)
        visible, member = visible + 1, member + _bell(self.box).clamp(0.05, 0.95).logit()
        where = (self.heat(up)[:, 0] + self.sharp * found).flatten(1).log_softmax(1)
        shift = where.exp() @ self.shifts.flatten(0, 1)
        logit, growth = self._summed(memory, visible, member, where.amax(1))
        where, growth = where.unflatten(1, self.shifts.shape[:2]), growth.clamp(-_GROWTH, _GROWTH)
        seen = SurfacesSeen(logit.sigmoid(), visible, member, where, shift, growth, pose)
        with torch.no_grad():
            moved = corrected(pose, seen.shift, (_GROWTH_SHARE * seen.growth).exp())
        belief = torch.stack([visible, member], 1).detach().sigmoid()
        return Surfaces(moved, before.first, belief, memory, seen.fraction.detach(), before.age + 1), seen

    def _view(self, images: Tensor, pose: Pose, clip: Tensor) -> Tensor:
        """(O, 5, SIDE, SIDE): colours, grey, and whether that is in the image."""
        at, size = pose.at(self.view), images.new_tensor([images.shape[3], images.shape[2]])
        step = 2 * REACH / SIDE * pose.unit * pose.grown.clamp(min=1e-6).sqrt()
        colours = looked_up(reduced(images), at, clip, (step > 1.5).long() + (step > 3).long())
        inside = ((at >= 0) & (at < size)).all(-1)[:, None].to(colours)
        return torch.cat([colours, (colours * self.mix).sum(1, keepdim=True), inside], 1)

    def _looked(
        self, before: Surfaces, images: Tensor, flows: Tensor, clip: Tensor
    ) -> tuple[Pose, Tensor, Tensor, Tensor]:
        """The pose by flow; the view beside the first one (O, 10, SIDE, SIDE); how the flow differs from the pose
        (O, 4, SIDE / 2, SIDE / 2); and numbers (O, 6)."""
        start = before.pose.at(self.coarse)
        after = start + looked_up([flows[:, :2]], start, clip).permute(0, 2, 3, 1)
        back = looked_up([flows[:, 2:]], after, clip).permute(0, 2, 3, 1)
        returned = (after + back - start).norm(dim=-1)
        weight = before.belief.prod(1) / (1 + (returned[:, _INNER, _INNER] / 2) ** 2)
        inner = self.coarse[_INNER, _INNER].flatten(0, 1)
        pose, trust = carried(before.pose, inner, after[:, _INNER, _INNER].flatten(1, 2), weight.flatten(1))
        view, first = self._view(images, pose, clip), before.first
        off = (after - pose.at(self.coarse)) / pose.unit[:, None, None, None]
        inside = ((after >= 0) & (after < after.new_tensor([images.shape[3], images.shape[2]]))).all(-1)
        moves = torch.cat(
            [(2 * off).tanh().permute(0, 3, 1, 2), (returned / 2).log1p()[:, None], inside[:, None].float()], 1
        )
        parts = [view[:, :3] * 2 - 1, view[:, 4:], first[:, :3] * 2 - 1, first[:, 4:]]
        parts += [alike(view[:, 3:4], first[:, 3:4]), (view[:, :3] - first[:, :3]).abs().mean(1, keepdim=True)]
        speed = (pose.speed / pose.half).norm(dim=1)
        numbers = [before.age.log1p(), pose.unit.log() - 3, pose.grown.clamp(0.1, 10).log(), trust, before.fraction]
        return pose, torch.cat(parts, 1), moves, torch.stack([*numbers, speed], 1)

    def _correlated(self, looks: Tensor, member: Tensor) -> Tensor:
        """(O, 2 CELLS + 1, 2 CELLS + 1) how alike the object and what lies at the places ``shifts`` are, -1 to 1."""
        now, first = (normalize(self.look(looks[:, start : start + 3]), dim=1) for start in (0, 4))
        kernel = first[..., _INNER, _INNER] * (member / member.sum((1, 2), keepdim=True).clamp(min=1e-3))[:, None]
        count = len(looks)
        there = pad(now, (CELLS // 2,) * 4).flatten(0, 1)[None]
        return (
            conv2d(there, kernel.flatten(0, 1)[:, None], groups=kernel.shape[0] * kernel.shape[1])[0]
            .unflatten(0, (count, -1))
            .sum(1)
        )

    def _remembered(self, deep: Tensor, memory: Tensor) -> Tensor:
        """A convolutional gated recurrent unit."""
        keep, reset = self.gates(torch.cat([deep, memory], 1)).sigmoid().chunk(2, 1)
        return (1 - keep) * memory + keep * self.new(torch.cat([deep, reset * memory], 1)).tanh()

    def _summed(self, memory: Tensor, visible: Tensor, member: Tensor, peak: Tensor) -> tuple[Tensor, Tensor]:
        """(O,) logit of the visible part, the share of the object's cells that are seen and a correction of it; and
        the logarithm by which sides are longer."""
        own = member.sigmoid()
        share = (own * visible.sigmoid()).sum((1, 2)) / own.sum((1, 2)).clamp(min=1e-3)
        share = share.detach()  # the cells are taught by themselves: the logarithm would shake them
        logit = share.clamp(0.01, 0.99).logit()
        inner, small = memory[:, :, CELLS // 4 : -(CELLS // 4), CELLS // 4 : -(CELLS // 4)], avg_pool2d(own[:, None], 2)
        mine = (inner * small).sum((2, 3)) / small.sum((2, 3))
        told = [mine, memory.mean((2, 3)), memory.amax((2, 3)), share[:, None], logit[:, None] / 4, peak[:, None]]
        correction = self.whole(torch.cat(told, 1))
        return logit + correction[:, 0], correction[:, 1]


def shifts() -> Tensor:
    """Places (2 CELLS + 1, 2 CELLS + 1, 2) at which an object's middle is looked for in its view."""
    along = (torch.arange(2 * CELLS + 1) - CELLS) * (2 / CELLS)
    return torch.stack(torch.meshgrid(along, along, indexing="xy"), -1)


def _bell(places: Tensor) -> Tensor:
    """Where in its box an object is before anything is seen, 0 to 1."""
    return (-(places / _PRIOR).square().sum(-1) / 2).exp()
