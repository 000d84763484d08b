"""What is known of the tracks of a video besides its scene graphs, frame after frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.language.finding import SceneWords
from scenegraph_track.language.reading import Reader
from scenegraph_track.structures import Frame, ObjectState, SceneGraph

KEPT = 0.85
"""Of what was known of a track's looks, with each frame in which it is wholly seen."""


def watched(reader: Reader, known: SceneWords, scene: SceneGraph, frame: Frame) -> SceneWords:
    """What is known after one more frame, for ``SceneGraph.find(text, known)``.

    Begins with ``SceneWords()`` and is called behind every step of the tracker by who wants to ask for looks or motion.

    Args:
        reader: Sees how objects look.
        known: Before.
        scene: Of this frame.
        frame: With its image, else only motion is taken in.
    """
    rows = np.flatnonzero((scene.states == int(ObjectState.VISIBLE)).numpy())
    boxes, ids = scene.boxes.double().numpy()[rows], scene.track_ids.numpy()[rows].tolist()
    looks, places, motions = dict(known.looks), dict(known.boxes), dict(known.motions)
    if frame.image is not None and len(rows):
        seen = reader.aspects(reader.look(frame.image), boxes)
        shown = np.nan_to_num(scene.visibility.double().numpy()[rows], nan=1.0)
        for one, now, part in zip(ids, seen, shown):
            share = 1 - KEPT * part if one not in looks else (1 - KEPT) * part
            looks[one] = now if one not in looks else (1 - share) * looks[one] + share * now
    moved = {one: _motion(places[one], (scene.timestamp, box)) for one, box in zip(ids, boxes) if one in places}
    common = np.median(list(moved.values()), axis=0) if len(moved) > 3 else np.zeros(3)
    for one, motion in moved.items():
        new = motion - common
        motions[one] = new if one not in motions else 0.7 * motions[one] + 0.3 * new
    places |= {one: (scene.timestamp, box) for one, box in zip(ids, boxes)}
    size = frame.size
    return replace(known, looks=looks, boxes=places, motions=motions, width=known.width if size is None else size[0])


def _motion(before: tuple[float, NDArray], now: tuple[float, NDArray]) -> NDArray[np.float64]:
    """Heights a second to the right and down, and growth of the logarithm of the height a second."""
    (earlier, a), (later, b) = before, now
    height = max((a[3] - a[1] + b[3] - b[1]) / 2, 1e-6)
    apart = (b[:2] + b[2:] - a[:2] - a[2:]) / 2 / height
    growth = np.log(max(b[3] - b[1], 1e-6) / max(a[3] - a[1], 1e-6))
    return np.append(apart, growth) / max(later - earlier, 1e-6)
