"""Depth of frames of a clip beside simpler guesses."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geometry.completion import DepthEstimator, complete_depth
from geometry.flow import FlowEstimator
from geometry.triangulation import VideoDepth, fuse, video_depth
from scenegraph_track.evaluation.geometry import depth_figures, mean_figures
from scenegraph_track.evaluation.tally import Tally

if TYPE_CHECKING:
    from scenegraph_track.evaluation.clips import Clip

MAP_ERROR = 0.6
"""Relative error of the mean depth map that the fusion reckons with."""

MIN_CONFIDENCE = 0.5
"""Least confidence of the pixels that triangulation alone is judged on."""

SHORT = {"video": "", "network": "_network", "mean_map": "_mean_map", "row": "_row", "constant": "_constant"}
SHORT |= {"triangulated": "_triangulated"}

PROTOCOL = (
    "Depth of the middle frame of each world, or of every sixth frame of a recording; mean over frames. Every map is "
    "first multiplied by median(truth) / median(estimate) of its own frame (median scaling).",
    "video: triangulation completed by the single-image network, or by the mean depth map where there is no network; "
    f"triangulated: alone, where its confidence is over {MIN_CONFIDENCE:g}; mean_map: of training worlds; row: that "
    "map averaged along rows; constant: one depth. moving: frames of clips whose camera translates.",
)


@dataclass(frozen=True, eq=False)
class VideoEstimate:
    """Depth of a frame as the product computes it, and what went into it.

    Args:
        depth: (H, W), positive everywhere, of unknown scale.
        triangulated: The part that was seen from several places.
    """

    depth: Tensor
    triangulated: VideoDepth


def video_depth_estimate(
    images: Sequence[Tensor],
    index: int,
    intrinsics: Tensor,
    flow: str | FlowEstimator,
    depth_estimator: DepthEstimator | None,
    prior: Tensor,
) -> VideoEstimate:
    """Depth of one frame of a clip as the product computes it; all figures of "video depth" come from here.

    Args:
        images: (3, H, W) each, float in [0, 1] or uint8.
        index: Frame whose depth is wanted.
        intrinsics: (3, 3).
        flow: Method of `optical_flow`.
        depth_estimator: Single-image network, or None.
        prior: (H, W) mean depth map, the guess where there is no network.

    Returns:
        Triangulation completed by the network or the prior.
    """
    found = video_depth(images, index, intrinsics, flow)
    if depth_estimator is None:
        return VideoEstimate(fuse(found.depth, found.confidence, prior, MAP_ERROR), found)
    return VideoEstimate(complete_depth(found, images[index], intrinsics, depth_estimator), found)


def network_depth(estimator: DepthEstimator, image: Tensor, intrinsics: Tensor) -> Tensor:
    """Depth (H, W) of one image (3, H, W), float in [0, 1] or uint8, alone."""
    values = image.float() / 255 if image.dtype == torch.uint8 else image
    return estimator(values[None], intrinsics[None])[0, 0]


def depth_maps(estimate: VideoEstimate, network: Tensor | None, prior: Tensor) -> dict[str, NDArray]:
    """The depth maps (H, W) that are compared, by name; 0 where there is none."""
    found = estimate.triangulated
    maps = {"video": estimate.depth}
    if network is not None:
        maps["network"] = network
    maps["triangulated"] = torch.where(found.confidence > MIN_CONFIDENCE, found.depth, torch.zeros_like(found.depth))
    maps["mean_map"] = prior
    maps["row"] = prior.log().mean(1, keepdim=True).exp().expand_as(prior)
    maps["constant"] = torch.ones_like(prior)
    return {name: values.cpu().numpy() for name, values in maps.items()}


def measure_depth(
    clip: Clip, flow: str | FlowEstimator, depth_estimator: DepthEstimator | None, prior: Tensor
) -> tuple[Tally, dict[str, NDArray]]:
    """Measure the depth maps of a clip.

    Args:
        clip: With truth.
        flow: Method of `optical_flow`.
        depth_estimator: Single-image network, or None.
        prior: (H, W) mean depth map.

    Returns:
        `DepthFigures` as ``all name``, and ``moving name`` where the camera translates, times as ``ms``, and of the
        last frame the ``image`` (H, W, 3) and the depth maps as ``truth`` and by name.
    """
    tally, shown = Tally(), {}
    for index in clip.frames:
        start = time.process_time()
        estimate = video_depth_estimate(clip.images, index, clip.intrinsics, flow, depth_estimator, prior)
        tally.add("ms", (time.process_time() - start) * 1000)
        alone = None if depth_estimator is None else network_depth(depth_estimator, clip.images[index], clip.intrinsics)
        truth, maps = clip.depth(index), depth_maps(estimate, alone, prior)
        for name, values in maps.items():
            figures = depth_figures(values, truth)
            for group in ("all", "moving") if clip.moves else ("all",):
                tally.add(f"{group} {name}", figures)
        shown = {"image": clip.images[index].permute(1, 2, 0).numpy(), "truth": truth, **maps}
    return tally, shown


def depth_table(tally: Tally, group: str) -> dict[str, dict[str, float]]:
    """Mean figures of each depth map over the frames of a group, "all" or "moving"."""
    table = {}
    for name in SHORT:
        if f"{group} {name}" in tally.lists:
            table[name] = dict(vars(mean_figures(tally.lists[f"{group} {name}"])))
    return table


def depth_report(tally: Tally) -> dict[str, Any]:
    """Figures of what `measure_depth` measured.

    Returns:
        ``abs_rel`` and ``delta1`` of the video depth, the same with ``_network``, ``_mean_map``, ``_row``,
        ``_constant`` and ``_triangulated`` behind them, ``coverage_triangulated``, ``ms`` (median CPU time of one video
        depth), and the tables ``methods`` and ``moving`` with all figures of each.
    """
    table = depth_table(tally, "all")
    figures: dict[str, Any] = {}
    for name, row in table.items():
        figures |= {f"{figure}{SHORT[name]}": row[figure] for figure in ("abs_rel", "delta1")}
    figures["coverage_triangulated"] = table["triangulated"]["coverage"]
    figures["ms"] = tally.figure("ms", np.median)
    return {**figures, "methods": table, "moving": depth_table(tally, "moving")}
