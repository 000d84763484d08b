"""Draw tracked objects on the frames of a sequence and keep them as a video."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np

from scenegraph_track.data.video_writer import VideoWriter
from scenegraph_track.structures import RELATIONS, Frame, ObjectState, SceneGraph, Tracks
from scenegraph_track.visualize.draw import Drawable, Trails, display_scale, draw_tracks

CANVAS = (32, 34, 40)
"""Colour of the ground where a sequence has no images."""

DRAWN_RELATION = "occludes"
"""The relation that is drawn as an arrow; the others would cover the picture."""


def drawable_scene(scene: SceneGraph, size: tuple[int, int]) -> Drawable:
    """What is drawn of a scene: objects that are shown, and hidden ones that are still inside the image (W, H)."""
    nodes = scene.nodes
    boxes = scene.boxes.double().numpy()
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    inside = ((centres >= 0) & (centres <= size)).all(1)
    state = scene.states.numpy()
    keep = (state != ObjectState.LEFT) & (scene.shown.numpy() | (inside & (state == ObjectState.HIDDEN)))
    row = np.cumsum(keep) - 1
    probability = scene.relations[:, RELATIONS.index(DRAWN_RELATION)].numpy()
    arrows = [
        (int(row[i]), int(row[j]), DRAWN_RELATION)
        for i, j in scene.relates_index.numpy()[:, probability > 0.5].T
        if keep[i] and keep[j]
    ]
    return Drawable(
        ids=scene.track_ids.numpy()[keep],
        boxes=boxes[keep],
        state=(state[keep] == ObjectState.HIDDEN).astype(np.int64),
        hidden_for=nodes["hidden_for"].double().numpy()[keep],
        arrows=tuple(arrows),
    )


def drawable_tracks(tracks: Tracks, seen: dict[int, float], timestamp: float) -> Drawable:
    """What is drawn of the tracks of one frame; ``seen`` keeps when each identity was last observed."""
    ids, observed = tracks.ids.tolist(), tracks.observed.tolist()
    seen.update((identity, timestamp) for identity, here in zip(ids, observed) if here)
    return Drawable(
        ids=tracks.ids.numpy(),
        boxes=tracks.boxes.double().numpy(),
        state=(~tracks.observed).long().numpy(),
        hidden_for=np.array([timestamp - seen.get(identity, timestamp) for identity in ids]),
    )


class AnnotatedVideo:
    """Context manager that writes frames with objects drawn on them.

    Args:
        path: File to write, ending in ``.mp4``.
        size: (W, H) of the frames in pixels; small ones are enlarged.
        frame_rate: Frames per second.
    """

    def __init__(self, path: Path, size: tuple[int, int], frame_rate: float) -> None:
        self.size = size
        scale = display_scale(size)
        self._writer = VideoWriter(path, (size[0] * scale, size[1] * scale), frame_rate)
        self._trails = Trails()
        self._ground = np.full((size[1], size[0], 3), CANVAS, np.uint8)

    def __enter__(self) -> AnnotatedVideo:
        self._writer.__enter__()
        return self

    def write(self, frame: Frame, objects: Drawable) -> None:
        """Append one frame; one without image stands on the last image, or on an empty ground."""
        self._trails = self._trails.follow(objects, frame.timestamp)
        if frame.image is not None:
            self._ground = frame.to_rgb()
        drawn = draw_tracks(self._ground, objects, trails=self._trails, legend=True)
        self._writer.write(drawn, frame.timestamp)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)
