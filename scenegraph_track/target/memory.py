"""What is remembered of a target: its first view for ever, and the newest ones in which it was surely seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import pad

from scenegraph_track.errors import UserError
from scenegraph_track.target.heads import Response
from scenegraph_track.target.labels import gaussian_maps, ltrb_maps
from scenegraph_track.target.predictor import MemoryTokens


class MemoryRules(BaseModel):
    """When a view is remembered (ToMP and GOT-JEPA; their thresholds are for scores of their networks)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    views: int = Field(2, ge=1, description="most views, the first one counted")
    not_found: float = Field(0.25, description="score under which a target counts as not found")
    confident: float = Field(0.9, description="score above which a view may be remembered")
    neighbourhood: float = Field(2.2, gt=0, description="sides of the target that count as round its peak")
    distractor: float = Field(
        0.8, gt=0, description="part of its peak that another peak must exceed to make it uncertain"
    )
    visible: float = Field(0.85, ge=0, le=1, description="visible part, where it is known, from which it is not hidden")


class Verdict(StrEnum):
    """What a response says about its target."""

    SURE = "sure"
    UNSURE = "unsure"
    UNCERTAIN = "uncertain"
    HIDDEN = "hidden"
    NOT_FOUND = "not found"


@dataclass(frozen=True, eq=False)
class TargetMemory:
    """Views of one target, oldest first; the first is the one that it was started with.

    Args:
        features: (n, D, h, w).
        boxes: (n, 4) xyxy, pixels of the view.
        given: (n,) bool, whether the box was given.
    """

    features: Tensor
    boxes: Tensor
    given: Tensor

    def __len__(self) -> int:
        return len(self.features)

    @classmethod
    def started(cls, features: Tensor, box: Tensor) -> TargetMemory:
        """A memory of one view (D, h, w) with a given box (4,)."""
        return cls(features[None], box[None], torch.ones(1, dtype=torch.bool, device=features.device))

    def added(self, features: Tensor, box: Tensor, views: int, given: bool = False) -> TargetMemory:
        """The memory with one more view, without the oldest after the first where there are more than ``views``.

        Args:
            features: (D, h, w) of the same grid as those before.
            box: (4,) xyxy, pixels of the view.
            views: See `MemoryRules`.
            given: Whether somebody gave the box.

        Raises:
            UserError: The features have another shape.
        """
        if features.shape != self.features.shape[1:]:
            shapes = f"{tuple(self.features.shape[1:])}, found {tuple(features.shape)}"
            raise UserError(f"memory of a target: expected features of the shape {shapes}")
        if views < 2:
            return self
        kept = [0, *range(max(1, len(self) + 2 - views), len(self))]
        flag = self.given.new_tensor([given])
        return TargetMemory(
            torch.cat([self.features[kept], features[None]]),
            torch.cat([self.boxes[kept], box[None]]),
            torch.cat([self.given[kept], flag]),
        )


def memory_tokens(memories: Sequence[TargetMemory], stride: float, unit: float, sigma: float) -> MemoryTokens:
    """The memories of N targets side by side, with labels, for the predictor.

    Args:
        memories: Of N targets, on one grid.
        stride: Pixels of a cell.
        unit: Pixels of a distance of 1.
        sigma: Of the labels, cells.
    """
    most = max(len(memory) for memory in memories)
    features = torch.stack([_filled(memory.features, most) for memory in memories])
    boxes = torch.stack([_filled(memory.boxes, most) for memory in memories])
    given = torch.stack([_filled(memory.given, most) for memory in memories])
    counts = torch.tensor([len(memory) for memory in memories], device=features.device)
    valid = torch.arange(most, device=features.device) < counts[:, None]
    size = (features.shape[-2], features.shape[-1])
    labels, ltrb = gaussian_maps(boxes, size, stride, sigma), ltrb_maps(boxes, size, stride, unit)
    return MemoryTokens(features, labels, ltrb, valid, given & valid)


def _filled(values: Tensor, count: int) -> Tensor:
    """Values (n, ...) with the first repeated up to a count."""
    return torch.cat([values, values[:1].expand(count - len(values), *values.shape[1:])])


def frame_memories(features: Tensor, boxes: Tensor, stride: int, cells: int) -> list[TargetMemory]:
    """Memories of many targets cut from the features of one frame.

    Args:
        features: (D, h, w) of the whole frame.
        boxes: (N, 4) xyxy, pixels of that frame.
        stride: Pixels of a cell.
        cells: Side of what is cut out round each target; zeros outside the frame.

    Returns:
        N memories.
    """
    padded = pad(features, (cells,) * 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / (2 * stride)
    height, width = features.shape[1:]
    limit = middles.new_tensor([width, height])
    corners = (torch.minimum(middles.clamp(min=0), limit) - cells / 2).round().long()
    found = []
    for box, (left, top) in zip(boxes, corners.tolist()):
        window = padded[:, top + cells : top + 2 * cells, left + cells : left + 2 * cells]
        found.append(TargetMemory.started(window, box - stride * box.new_tensor([left, top, left, top])))
    return found


def second_peaks(score: Tensor, cells: Tensor, reach: Tensor) -> Tensor:
    """The best scores (N,) outside the neighbourhoods of peaks; minus infinity where nothing lies outside.

    Args:
        score: (N, h, w).
        cells: (N,) of the peaks, row by row.
        reach: (N, 2) cells along x and y up to which the neighbourhood reaches.
    """
    height, width = score.shape[1:]
    away_x = (torch.arange(width, device=score.device) - (cells % width)[:, None]).abs()
    away_y = (torch.arange(height, device=score.device) - (cells // width)[:, None]).abs()
    inside = (away_y <= reach[:, 1:])[:, :, None] & (away_x <= reach[:, :1])[:, None]
    return score.masked_fill(inside, -torch.inf).flatten(1).amax(1)


def verdicts(
    response: Response, sizes: Tensor, stride: float, rules: MemoryRules, visibility: Tensor | None = None
) -> list[Verdict]:
    """What N targets' responses say; only those that are `Verdict.SURE` are remembered.

    Args:
        response: Of N targets.
        sizes: (N, 2) width and height of the targets, pixels of the view.
        stride: Pixels of a cell.
        rules: The thresholds.
        visibility: (N,) visible parts, NaN where unknown; None: nobody knows.
    """
    peaks = response.peaks
    others = second_peaks(response.score, response.cells, rules.neighbourhood * sizes / (2 * stride))
    hidden = torch.zeros_like(peaks, dtype=torch.bool) if visibility is None else visibility < rules.visible
    found = []
    for peak, other, covered in zip(peaks.tolist(), others.tolist(), hidden.tolist()):
        if peak < rules.not_found:
            found.append(Verdict.NOT_FOUND)
        elif covered:
            found.append(Verdict.HIDDEN)
        elif other > rules.distractor * peak:
            found.append(Verdict.UNCERTAIN)
        else:
            found.append(Verdict.SURE if peak > rules.confident else Verdict.UNSURE)
    return found
