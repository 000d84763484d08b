"""End-point error of optical flow, by where in the image it falls."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from geometry.flow import FlowEstimator, optical_flow
from scenegraph_track.data.worlds.render import WorldFrame
from scenegraph_track.evaluation.tally import Tally

if TYPE_CHECKING:
    from scenegraph_track.evaluation.clips import Clip

BAND = 2
"""Pixels on either side of an outline that count as its border."""

REGIONS = ("moving", "border", "background")
LEARNED, DIS = "learned", ("dis_fast", "dis_sparse", "dis_fine")

PROTOCOL = (
    "End-point error: mean distance in pixels over the pixels that the next frame shows too. moving: objects; border: "
    f"at most {BAND} pixels from an outline; background: all the rest. From the frame at a quarter of each world and "
    "the middle one to the next frame; a recording has the flow of its camera, all of it background, and pixels count "
    "that stay in the image.",
    "ms: median CPU time of one flow, half of there and back, on one thread. The figures of dis are those of the DIS "
    "that is better on moving objects.",
)


def flow_regions(frame: WorldFrame, objects: int) -> dict[str, NDArray[np.bool_]]:
    """Where errors are counted apart: (H, W) masks of pixels that the next frame shows too.

    Args:
        frame: Ground truth.
        objects: Number of objects; greater instance numbers are static occluders.

    Returns:
        ``moving`` (objects), ``border`` (at most `BAND` pixels from an outline) and ``background`` (all the rest).
    """
    seen = ~frame.occluded_forward
    mobile = (frame.instance > 0) & (frame.instance <= objects)
    band = np.ones((2 * BAND + 1, 2 * BAND + 1), np.uint8)
    outline = cv2.dilate(frame.instance, band) != cv2.erode(frame.instance, band)
    return {"moving": mobile & seen, "border": outline & seen, "background": ~mobile & ~outline & seen}


def end_point_error(flow: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """Distance in pixels (H, W) between two flows (H, W, 2)."""
    return np.linalg.norm(np.asarray(flow, np.float64) - truth, axis=-1)


def measure_flow(clip: Clip, methods: Mapping[str, str | FlowEstimator]) -> tuple[Tally, dict[str, NDArray]]:
    """Measure flow methods on the pairs of a clip.

    Args:
        clip: With truth.
        methods: By name, for `optical_flow`.

    Returns:
        Errors as ``method region`` and times as ``method ms``, and of the last pair the ``image`` (H, W, 3) and the
        flows (H, W, 2) as ``truth`` and by method.
    """
    tally, shown = Tally(), {}
    for index in clip.pairs:
        truth, regions = clip.flow(index)
        shown = {"image": clip.images[index].permute(1, 2, 0).numpy(), "truth": truth}
        for name, method in methods.items():
            start = time.process_time()
            found = optical_flow(clip.images[index], clip.images[index + 1], method)
            tally.add(f"{name} ms", (time.process_time() - start) * 500)
            shown[name] = found.flow.permute(1, 2, 0).numpy()
            error = end_point_error(shown[name], truth)
            for region, mask in regions.items():
                tally.add(f"{name} {region}", error[mask])
    return tally, shown


def flow_figures(tally: Tally) -> dict[str, Any]:
    """Figures of what `measure_flow` measured.

    Returns:
        ``epe_moving``, ``epe_border``, ``epe_background`` and ``ms`` of the learned flow, if there is one; the same
        with ``_dis`` of the better DIS; and ``methods`` with those of each method by name.
    """
    methods = {}
    for name in (LEARNED, *DIS):
        if f"{name} ms" in tally.lists:
            methods[name] = {f"epe_{region}": tally.figure(f"{name} {region}") for region in REGIONS}
            methods[name]["ms"] = tally.figure(f"{name} ms", np.median)
    best = min(
        (name for name in DIS if name in methods),
        key=lambda name: np.nan_to_num(methods[name]["epe_moving"], nan=methods[name]["epe_background"]),
    )
    figures: dict[str, Any] = dict(methods.get(LEARNED, {}))
    figures |= {f"{name}_dis": value for name, value in methods[best].items()}
    return {**figures, "dis": best, "methods": methods}
