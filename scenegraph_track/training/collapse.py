"""What it looks like when depth and camera motion stop explaining anything, and since which step they do."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor


class CollapseLimits(BaseModel):
    """When training counts as collapsed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    depth_variation: float = Field(0.05, ge=0, description="least deviation of a depth map over its mean")
    translation: float = Field(1e-3, ge=0, description="least median translation over the median depth")
    pose_agreement: float = Field(0.95, gt=0, description="largest distance of rigid to classical flow over its length")
    warmup: int = Field(600, ge=0, description="steps that a network learns for before it is judged")
    patience: int = Field(3, ge=1, description="entries of the log in a row that have to show it")
    on_collapse: Literal["stop", "report"] = Field("stop", description="report: go on all the same")


@torch.no_grad()
def collapse_signs(depth: Tensor, motions: Tensor, rigid: Tensor, flow: Tensor, trusted: Tensor) -> dict[str, Tensor]:
    """Figures that tell a collapse, without any ground truth.

    Args:
        depth: (B, 1, H, W).
        motions: (B, S, 4, 4) to the sources.
        rigid: (B, S, 2, H, W) flow that depth and motions give, pixels.
        flow: The same by a classical estimate.
        trusted: (B, S, 1, H, W) bool, where that is to be trusted.

    Returns:
        ``depth_variation`` (deviation over mean, mean over images), ``translation`` (median length over median depth)
        and ``pose_agreement`` (median distance of the two flows over the median length of the classical one: 0 is
        perfect, 1 no better than no motion).
    """
    maps = depth.flatten(1)
    lengths = motions[..., :3, 3].norm(dim=-1) / maps.median(1).values[:, None]
    seen = trusted[:, :, 0]
    distance, length = (vectors.square().sum(2).sqrt()[seen] for vectors in (rigid - flow, flow))
    agreement = distance.median() / length.median().clamp(min=1e-3) if len(length) else maps.new_ones(())
    return {
        "depth_variation": (maps.std(1) / maps.mean(1)).mean(),
        "translation": lengths.median(),
        "pose_agreement": agreement,
    }


class CollapseWatch:
    """Follows the entries of a log.

    Args:
        limits: See `CollapseLimits`.

    Attributes:
        collapsed: The step of the first of the entries that show a collapse up to now, and what they show; None while
            there are none.
    """

    def __init__(self, limits: CollapseLimits) -> None:
        self.limits = limits
        self.collapsed: tuple[int, str] | None = None
        self._entries: list[int] = []

    def see(self, step: int, metrics: dict[str, float], depth_steps: int, pose_steps: int) -> str | None:
        """Take in an entry of the log.

        Args:
            step: Updates so far.
            metrics: With the names of `collapse_signs`.
            depth_steps: Steps that the depth network has learned for.
            pose_steps: The same of the pose network.

        Returns:
            What has collapsed, once enough entries in a row have shown it.
        """
        found = self._found(metrics, depth_steps > self.limits.warmup, pose_steps > self.limits.warmup)
        self._entries = [*self._entries, step] if found else []
        lasting = found if len(self._entries) >= self.limits.patience else None
        self.collapsed = (self._entries[0], lasting) if lasting else None
        return lasting

    def state(self) -> dict[str, Any]:
        """What has been seen, as plain values."""
        return {"entries": list(self._entries), "collapsed": self.collapsed}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave."""
        self._entries, self.collapsed = list(state["entries"]), state["collapsed"]

    def _found(self, metrics: dict[str, float], judge_depth: bool, judge_pose: bool) -> str | None:
        limits = self.limits
        variation, length = metrics["depth_variation"], metrics["translation"]
        agreement = metrics["pose_agreement"]
        wrong = []
        if judge_depth and variation < limits.depth_variation:
            wrong.append(f"depth is constant: std/mean {variation:.2g} < {limits.depth_variation:g}")
        if judge_pose and length < limits.translation:
            wrong.append(f"camera does not move: |t|/depth {length:.2g} < {limits.translation:g}")
        elif judge_pose and agreement > limits.pose_agreement:
            most = f"{limits.pose_agreement:g}"
            wrong.append(f"camera motion explains no flow: what is left of it {agreement:.2g} > {most}")
        return " and ".join(wrong) or None
