"""What the recipe of photometric training may say."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from geometry.losses import ALPHA, SMOOTHNESS
from scenegraph_track.training.collapse import CollapseLimits
from scenegraph_track.training.depth import DepthNetSettings
from scenegraph_track.training.pose import PoseNetSettings
from scenegraph_track.training.windows import WindowData


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PhotometricLoss(_Section):
    """What counts as an error."""

    alpha: float = Field(ALPHA, ge=0, le=1, description="share of the SSIM distance; the rest is absolute difference")
    smoothness: float = Field(SMOOTHNESS, ge=0, description="at full resolution; halved with every scale")
    scales: int = Field(3, ge=1, le=4, description="of the disparity, each judged at full resolution")
    auto_mask: bool = Field(True, description="leave out what an unwarped image explains better")
    motion_scale: float | None = Field(
        None, gt=0, description="pixels of classical flow beyond the rigid one that halve a weight; None: all count"
    )
    flow: float = Field(0.0, ge=0, description="weight of a pixel between rigid and classical flow")


class Phases(_Section):
    """Steps of the regime ``cure``; both networks learn in all that follow.

    The loop's cosine has fallen to a tenth of the top rate at 80 % of the steps, where both should begin.
    """

    pose: int = Field(750, ge=0, description="of the motion alone, on a plane")
    depth: int = Field(450, ge=0, description="of the depth alone")


class Start(_Section):
    """Weights to begin with: files with the modules ``depth`` and ``pose``; None: fresh ones."""

    depth: str | None = None
    pose: str | None = None


class PhotometricSettings(_Section):
    """Sections of the recipe ``geometry``."""

    regime: Literal["ssim_l1_joint", "l1_joint", "cure"] = "cure"
    pose_teacher: Literal["classical", "photometric"] = Field(
        "classical", description="what teaches the motion in the first phase of the cure"
    )
    start: Start = Start()
    phases: Phases = Phases()
    data: WindowData = WindowData()
    loss: PhotometricLoss = PhotometricLoss()
    collapse: CollapseLimits = CollapseLimits()
    depth_net: DepthNetSettings = DepthNetSettings(completes=False)
    pose_net: PoseNetSettings = PoseNetSettings(flow=False, images=True)
