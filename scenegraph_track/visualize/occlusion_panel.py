"""One occlusion as a picture: frames and scene graphs before, during and after, with what each identity rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from scenegraph_track.structures import BECOMES, CUES, RELATIONS, ObjectState, SceneGraph
from scenegraph_track.visualize.canvas import Pen, dashes
from scenegraph_track.visualize.colors import relation_color, text_color, track_colors
from scenegraph_track.visualize.draw import Drawable, draw_tracks
from scenegraph_track.visualize.graph_panel import GROUND

CUE_COLORS = {
    "motion": (250, 190, 70),
    "overlap": (90, 190, 255),
    "appearance": (240, 120, 200),
    "depth": (120, 220, 140),
    "size": (180, 160, 250),
}
"""RGB of the cues."""

_INK, _PLANE = (196, 202, 214), (38, 42, 52)
_LIKELY = 0.5


@dataclass(frozen=True)
class Occlusion:
    """One object that was hidden and came back under its identity.

    Args:
        identity: Of the track.
        hider: Of what hid it, 0 where that is not known.
        before: Number of the last scene in which it was seen.
        during: Of one in the middle.
        after: Of the first one in which it is seen again.
    """

    identity: int
    hider: int
    before: int
    during: int
    after: int


def find_occlusion(scenes: Sequence[SceneGraph]) -> Occlusion | None:
    """The longest one of which it is known what hid the object, else the longest; None where nothing came back."""
    seen: dict[int, int] = {}
    found: list[tuple[bool, float, Occlusion]] = []
    for t, scene in enumerate(scenes):
        for identity in scene.track_ids[scene.states == ObjectState.VISIBLE].tolist():
            last = seen.get(identity, t)
            if t - last > 1:
                during = (last + t) // 2
                row = (scenes[during].track_ids == identity).nonzero()
                if len(row):
                    hider = int(scenes[during].hidden_by[row[0, 0]])
                    away = scene.timestamp - scenes[last].timestamp
                    found.append((hider > 0, away, Occlusion(identity, hider, last, during, t)))
            seen[identity] = t
    return max(found, key=lambda one: one[:2])[2] if found else None


def occlusion_picture(
    scenes: Sequence[SceneGraph], images: Sequence[np.ndarray], occlusion: Occlusion, width: int = 1500
) -> np.ndarray:
    """Frames over graphs: nodes above are tracks before the frame, those below are in it, and the bars on the edges
    between them are the weights of the cues.

    Args:
        scenes: Of a run, in order.
        images: (H, W, 3) uint8 of the frames ``before``, ``during`` and ``after``.
        occlusion: What is shown.
        width: Of the picture, pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    numbers = occlusion.before, occlusion.during, occlusion.after
    shown = [scenes[number] for number in numbers]
    view = _view(shown, occlusion, (images[0].shape[1], images[0].shape[0]))
    places = _places(shown, view)
    column, gap = (width - 40) // 3, 10
    columns = []
    for title, scene, image in zip(("before", "during", "after"), shown, images, strict=True):
        top = _frame(scene, image, view, column)
        graph = _graph(scene, view, column, places)
        columns.append(np.vstack([_title(f"{title}: {scene.timestamp:.1f} s", column), top, graph]))
    space = np.full((columns[0].shape[0], gap, 3), GROUND, np.uint8)
    rows = np.hstack([space, columns[0], space, columns[1], space, columns[2], space])
    return np.vstack([rows, _legend(rows.shape[1])])


def _view(scenes: Sequence[SceneGraph], occlusion: Occlusion, size: tuple[int, int]) -> np.ndarray:
    """(4,) part of the image, 4:3, in which the object and what hid it are."""
    boxes = [
        scene.boxes[scene.track_ids == identity][0].double().numpy()
        for scene in scenes
        for identity in (occlusion.identity, occlusion.hider)
        if bool((scene.track_ids == identity).any())
    ]
    low, high = np.min(boxes, 0)[:2], np.max(boxes, 0)[2:]
    middle, extent = (low + high) / 2, 1.5 * (high - low)
    height = min(max(extent[1], extent[0] * 0.75, size[1] / 3), size[1], size[0] * 0.75)
    half = np.array([height / 0.75, height]) / 2
    middle = np.clip(middle, half, np.array(size) - half)
    return np.concatenate([middle - half, middle + half])


def _inside(scene: SceneGraph, view: np.ndarray) -> np.ndarray:
    """Rows of the objects that have not left and whose centre is in view."""
    boxes = scene.boxes.double().numpy()
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    there = ((middle > view[:2]) & (middle < view[2:])).all(1)
    return np.flatnonzero(there & (scene.states != ObjectState.LEFT).numpy())


def _frame(scene: SceneGraph, image: np.ndarray, view: np.ndarray, width: int) -> np.ndarray:
    factor = width / (view[2] - view[0])
    matrix = np.array([[factor, 0, -factor * view[0]], [0, factor, -factor * view[1]]])
    part = cv2.warpAffine(image, matrix, (width, round(0.75 * width)), flags=cv2.INTER_CUBIC)
    rows = _inside(scene, view)
    boxes = (scene.boxes.double().numpy()[rows] - np.tile(view[:2], 2)) * factor
    hidden = scene.states.numpy()[rows] != ObjectState.VISIBLE
    away = scene.nodes["hidden_for"].double().numpy()[rows]
    drawn = draw_tracks(part, Drawable(scene.track_ids.numpy()[rows], boxes, hidden.astype(int), away), scale=1)
    pen = Pen(drawn)
    std = scene.nodes["box_std"].double().numpy()[rows] * factor
    for box, deviation, identity in zip(boxes[hidden], std[hidden], scene.track_ids.numpy()[rows][hidden], strict=True):
        angle = np.linspace(0, 2 * np.pi, 61)
        ring = (box[:2] + box[2:]) / 2 + deviation[:2] * np.stack([np.cos(angle), np.sin(angle)], -1)
        pen.lines([ring], tuple(track_colors(np.array([identity]))[0].tolist()), 1)
    return drawn


def _places(scenes: Sequence[SceneGraph], view: np.ndarray) -> dict[int, float]:
    """Where each identity in view stands from left to right, in (0, 1); the same in all graphs."""
    centres: dict[int, list[float]] = {}
    for scene in scenes:
        for row in _inside(scene, view):
            box = scene.boxes[row].tolist()
            centres.setdefault(int(scene.track_ids[row]), []).append((box[0] + box[2]) / 2)
    order = sorted(centres, key=lambda identity: float(np.mean(centres[identity])))
    return {identity: (k + 0.5) / len(order) for k, identity in enumerate(order)}


def _graph(scene: SceneGraph, view: np.ndarray, width: int, places: dict[int, float]) -> np.ndarray:
    height = round(0.66 * width)
    pen = Pen(np.full((height, width, 3), _PLANE, np.uint8))
    rows, ids = _inside(scene, view), scene.track_ids.numpy()
    at = {int(r): np.array([places[int(ids[r])] * width, 0.66 * height]) for r in rows}
    past = {r: np.array([place[0], 0.17 * height]) for r, place in at.items()}
    pen.write("tracks before the frame", (8, 2), _INK, 0.8)
    pen.write("objects in it", (8, 0.93 * height), _INK, 0.8)
    radius = 0.034 * width
    probability = scene.relations[:, RELATIONS.index("occludes")].numpy()
    for k in np.flatnonzero(probability > _LIKELY):
        source, target = scene.relates_index[:, k].tolist()
        if source in at and target in at:
            _relation(pen, at[source], at[target], f"occludes {probability[k]:.2f}", radius)
    edges = scene.data[BECOMES]
    ends = edges.edge_index.T.tolist()
    for (source, target), chance, cue in zip(ends, edges.probability.tolist(), edges.cue.numpy(), strict=True):
        if source in past and target in at:
            _edge(pen, past[source], at[target], source == target, chance, cue, int(ids[target]), radius)
    for r, place in at.items():
        color = tuple(track_colors(ids[r : r + 1])[0].tolist())
        hidden = scene.states[r] != ObjectState.VISIBLE
        if any(source == r for source, _ in ends) or hidden:
            _node(pen, past[r], str(ids[r]), color, radius, hidden and not any(s == r for s, _ in ends))
        _node(pen, place, str(ids[r]), color, radius, bool(hidden))
        if hidden:
            by = int(scene.hidden_by[r])
            text = f"hidden {float(scene.nodes['hidden_for'][r]):.1f} s" + (f", by {by}" if by else "")
            size = np.array(pen.text_size(text, 0.8))
            corner = np.clip(place - [size[0] / 2, radius + size[1] + 4], 0, [width - size[0], height])
            pen.write(text, tuple(corner), color, 0.8)
    return pen.image


def _node(pen: Pen, place: np.ndarray, name: str, color: tuple[int, ...], radius: float, hollow: bool) -> None:
    pen.disc(place, radius + 1.5, GROUND)
    if hollow:
        circle = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 41)), np.sin(a)], -1)
        pen.lines(dashes(place + radius * circle, radius * 0.45), color, pen.width)  # type: ignore[arg-type]
    else:
        pen.disc(place, radius, color)  # type: ignore[arg-type]
    width, height = pen.text_size(name)
    ink = color if hollow else text_color(color)  # type: ignore[arg-type]
    pen.write(name, (place[0] - width / 2, place[1] - height / 2), ink)  # type: ignore[arg-type]
    pen.taken = np.vstack([pen.taken, [*(place - radius), *(place + radius)]])


def _relation(pen: Pen, start: np.ndarray, end: np.ndarray, text: str, radius: float) -> None:
    along = end - start
    length = max(float(np.hypot(*along)), 1e-6)
    side = np.array([0.0, -2 * radius - 0.12 * length])
    t = np.linspace(0, 1, 33)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * ((start + end) / 2 - side) + t**2 * end
    free = (np.hypot(*(curve - start).T) >= radius) & (np.hypot(*(curve - end).T) >= radius + pen.width)
    if free.sum() > 1:
        pen.arrow(curve[free], relation_color("occludes"), pen.width)
        size = np.array(pen.text_size(text, 0.8))
        corner = np.clip(curve[16] - [size[0] / 2, -2], 0, np.array(pen.image.shape[1::-1]) - size)
        pen.write(text, tuple(corner), relation_color("occludes"), 0.8)


def _edge(
    pen: Pen,
    start: np.ndarray,
    end: np.ndarray,
    kept: bool,
    chance: float,
    cue: np.ndarray,
    identity: int,
    radius: float,
) -> None:
    """A line from a track to what it is now, dashed where it became something else, with the bar of its cues."""
    color = tuple(track_colors(np.array([identity]))[0].tolist())
    line = np.stack([start, end])
    pen.lines([line] if kept else dashes(line, 0.4 * radius), color, pen.width if kept else 1)
    if not kept:
        return
    middle, size = 0.6 * start + 0.4 * end, np.array([4.0 * radius, 0.7 * radius])
    corner = np.clip(middle - size / 2, 2, np.array(pen.image.shape[1::-1]) - size - 2)
    edges = corner[0] + size[0] * np.concatenate([[0], np.cumsum(cue / max(cue.sum(), 1e-9))])
    top, bottom = round(corner[1]), round(corner[1] + size[1])
    cv2.rectangle(pen.image, (round(edges[0]) - 2, top - 2), (round(edges[-1]) + 2, bottom + 2), GROUND, cv2.FILLED)
    for name, left, right in zip(CUES, edges[:-1], edges[1:], strict=True):
        if right - left >= 1:
            cv2.rectangle(pen.image, (round(left), top), (round(right) - 1, bottom), CUE_COLORS[name], cv2.FILLED)
    bar = np.array([edges[0] - 2, top - 2, edges[-1] + 2, bottom + 2])
    pen.taken = np.vstack([pen.taken, bar])
    pen.label((f"{chance:.2f}",), bar, color, quiet=True, size=0.8)


def _title(text: str, width: int) -> np.ndarray:
    pen = Pen(np.full((480, width, 3), GROUND, np.uint8))
    height = pen.text_size(text)[1]
    pen.write(text, (0, 0), _INK)
    return pen.image[:height]


def _legend(width: int) -> np.ndarray:
    pen = Pen(np.full((480, width, 3), GROUND, np.uint8))
    height, left = pen.text_size("0")[1], 10.0
    text = "bar: weight of each cue in the match:"
    pen.write(text, (left, 0), _INK, 0.85)
    left += pen.text_size(text, 0.85)[0]
    for name, color in CUE_COLORS.items():
        cv2.rectangle(pen.image, (round(left), 8), (round(left) + 16, height - 8), color, cv2.FILLED)
        pen.write(name, (left + 18, 0), _INK, 0.85)
        left += 30 + pen.text_size(name, 0.85)[0]
    pen.write("number: probability of the match; ring: one deviation", (left, 0), _INK, 0.85)
    return pen.image[: height + 2]
