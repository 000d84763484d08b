"""The offline pass: link tracklets over gaps, fill the gaps, and decide which filled boxes are shown.

It works on finished tracks, of whatever tracker, and needs no images.  Both decisions are small learned rules
(``tracking.emission``): blind filling costs accuracy where the detector is weak.
"""

from __future__ import annotations

import numpy as np

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import Tracks
from scenegraph_track.tracking.emission import load_rules
from scenegraph_track.tracking.interpolation import interpolate
from scenegraph_track.tracking.linking import link


def refine(tracks: Tracks, frame_rate: float, image_size: tuple[int, int] | None, settings: TrackerSettings) -> Tracks:
    """Link, fill and filter the tracks of a whole sequence.

    Args:
        tracks: Online result; predicted boxes in it (``observed`` False) are decided anew.
        frame_rate: Frames per second.
        image_size: (W, H) in pixels, None where unknown.
        settings: ``offline`` and ``show`` are used.

    Returns:
        Tracks of the same sequence; an identity that was linked keeps its first id.
    """
    seen = tracks[tracks.observed]
    if len(seen) == 0:
        return seen
    ids = link(seen, frame_rate, image_size, settings)
    linked = Tracks.from_arrays(
        seen.frames, ids, seen.boxes.double(), seen.scores, classes=seen.classes, visibility=seen.visibility
    )
    filled, features = interpolate(linked, frame_rate, image_size, settings.offline.gap_seconds)
    if len(filled) == 0:
        return linked
    kept = filled[load_rules()["interpolated"](features) >= settings.show.interpolated]
    names = ("frames", "ids", "boxes", "scores", "classes", "visibility", "observed")
    joined = {name: np.concatenate([getattr(linked, name), getattr(kept, name)]) for name in names}
    return Tracks.from_arrays(**joined)
