"""A picture of the scene graph: nodes where the objects are, relations in a frame, identities from frame to frame."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.visualize.canvas import Pen, dashes
from scenegraph_track.visualize.colors import relation_color, text_color, track_colors
from scenegraph_track.visualize.draw import VISIBLE, Drawable, draw_legend

GROUND = (22, 24, 30)
_PLANE = (38, 42, 52)
_RIM = (96, 104, 122)


def graph_panel(
    objects: Drawable,
    frame_size: tuple[int, int],
    *,
    previous: Drawable | None = None,
    matches: Sequence[tuple[int, int, float]] = (),
    size: tuple[int, int] = (640, 480),
    rgb: np.ndarray | None = None,
    previous_rgb: np.ndarray | None = None,
    captions: tuple[str, str] = ("previous", "now"),
) -> np.ndarray:
    """Draw the scene graph of one frame, and above it that of the frame before with the temporal edges between them.

    Args:
        objects: Nodes (boxes in pixels of the frame) and relations (arrows) of the frame.
        frame_size: (W, H) of the frame in pixels.
        previous: The same of the frame before, or None for one frame alone.
        matches: (i, j, probability) from the i-th object before to the j-th now.
        size: (W, H) of the picture.
        rgb: (H, W, 3) uint8 frame, shown darkly under its graph.
        previous_rgb: The same for the frame before.
        captions: What stands at the two frames.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    wrong = next(
        (
            m
            for m in matches
            if previous is None or not (0 <= m[0] < len(previous.ids) and 0 <= m[1] < len(objects.ids))
        ),
        None,
    )
    if wrong is not None:
        raise UserError(f"graph_panel: expected matches between objects of the two frames, found {tuple(wrong)}")
    pen = Pen(np.full((size[1], size[0], 3), GROUND, np.uint8))
    crowd = max(len(objects.ids), 0 if previous is None else len(previous.ids), 1)
    radius = float(np.clip(0.55 * size[1] / (6 + crowd), 0.012 * size[1], 0.034 * size[1]))
    now = _plane(frame_size, size, 0 if previous is None else 2)
    if previous is not None:
        before = _plane(frame_size, size, 1)
        _draw_plane(pen, before, frame_size, previous_rgb, captions[0])
    _draw_plane(pen, now, frame_size, rgb, captions[1] if previous is not None else "")
    relations = {relation for _, _, relation in objects.arrows}
    hidden = bool((objects.state != VISIBLE).any())
    if previous is not None:
        relations |= {relation for _, _, relation in previous.arrows}
        hidden |= bool((previous.state != VISIBLE).any())
        _draw_relations(pen, previous, _centers(previous, before), radius)
        _draw_matches(pen, _centers(previous, before), _centers(objects, now), objects.ids, matches, radius)
        _draw_nodes(pen, previous, _centers(previous, before), radius)
    _draw_relations(pen, objects, _centers(objects, now), radius)
    _draw_nodes(pen, objects, _centers(objects, now), radius)
    for i, j, probability in matches:
        middle = 0.5 * _centers(previous, before)[i] + 0.5 * _centers(objects, now)[j]  # type: ignore[arg-type]
        color = tuple(track_colors(objects.ids[j : j + 1])[0].tolist())
        pen.label((f"{probability:.2f}",), np.r_[middle, middle], color, quiet=True, size=0.8)
    if hidden or relations:
        draw_legend(pen, hidden, sorted(relations), top=previous is not None)
    return pen.image


def beside(frame: np.ndarray, panel: np.ndarray) -> np.ndarray:
    """Put a panel to the right of a frame, resized to its height."""
    width = round(panel.shape[1] * frame.shape[0] / panel.shape[0])
    return np.hstack([frame, cv2.resize(panel, (width, frame.shape[0]), interpolation=cv2.INTER_AREA)])


def _plane(frame_size: tuple[int, int], size: tuple[int, int], layer: int) -> np.ndarray:
    """``panel_from_frame`` (2, 3): frame pixels to panel pixels; layer 0 alone, 1 the upper of two, 2 the lower."""
    (w, h), (width, height) = frame_size, size
    if layer == 0:
        factor = 0.9 * min(width / w, height / h)
        return np.array([[factor, 0, (width - factor * w) / 2], [0, factor, (height - factor * h) / 2]])
    slant = 0.16 * width
    top = (0.06 if layer == 1 else 0.54) * height
    across, down = (0.94 * width - slant) / w, 0.40 * height / h
    return np.array([[across, -slant / h, 0.03 * width + slant], [0, down, top]])


def _centers(objects: Drawable, plane: np.ndarray) -> np.ndarray:
    centers = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
    return centers @ plane[:, :2].T + plane[:, 2]


def _draw_plane(pen: Pen, plane: np.ndarray, frame_size: tuple[int, int], rgb: np.ndarray | None, caption: str) -> None:
    w, h = frame_size
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ plane[:, :2].T + plane[:, 2]
    drawn = pen.image.copy()
    cv2.fillPoly(drawn, [np.round(corners).astype(np.int32)], _PLANE, cv2.LINE_AA)
    if rgb is not None:
        size = (pen.image.shape[1], pen.image.shape[0])
        warped = cv2.warpAffine(rgb, plane, size, flags=cv2.INTER_AREA)
        inside = cv2.warpAffine(np.full(rgb.shape[:2], 255, np.uint8), plane, size) > 127
        drawn[inside] = (0.45 * warped[inside] + 0.35 * np.array(_PLANE)).astype(np.uint8)
    pen.blend(drawn, 0.92)
    pen.lines([corners], _RIM, 1, closed=True)
    if caption:
        width, height = pen.text_size(caption, 0.85)
        corner = (corners[1][0] - width, corners[1][1] - height + 2)
        pen.write(caption, corner, (190, 196, 210), 0.85)
        pen.taken = np.vstack([pen.taken, [*corner, corner[0] + width, corner[1] + height]])


def _draw_relations(pen: Pen, objects: Drawable, centers: np.ndarray, radius: float) -> None:
    """Arrows bent to one side, so that those of a pair of objects do not lie on each other."""
    bends: dict[tuple[int, int], int] = {}
    for i, j, relation in objects.arrows:
        turn = bends[i, j] = bends.get((i, j), 0) + 1
        start, end = centers[i], centers[j]
        side = np.array([start[1] - end[1], end[0] - start[0]])
        control = (start + end) / 2 + 0.18 * turn * side
        t = np.linspace(0, 1, 25)[:, None]
        curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end
        free = (np.hypot(*(curve - start).T) >= radius) & (np.hypot(*(curve - end).T) >= radius + pen.width)
        if free.sum() > 1:
            pen.arrow(curve[free], relation_color(relation), max(1, pen.width - 1))


def _draw_matches(
    pen: Pen,
    before: np.ndarray,
    now: np.ndarray,
    ids: np.ndarray,
    matches: Sequence[tuple[int, int, float]],
    radius: float,
) -> None:
    faint = Pen(pen.image.copy())
    for i, j, probability in matches:
        color = tuple(track_colors(ids[j : j + 1])[0].tolist())
        line = np.stack([before[i], now[j]])
        width = max(1, round(pen.width * (0.4 + 1.4 * probability)))
        faint.lines([line] if probability >= 0.5 else dashes(line, radius * 0.6), color, width)
    pen.blend(faint.image, 0.75)


def _draw_nodes(pen: Pen, objects: Drawable, centers: np.ndarray, radius: float) -> None:
    circle = np.stack([np.cos(a := np.linspace(0, 2 * np.pi, 41)), np.sin(a)], -1)
    colors = track_colors(objects.ids).tolist()
    for k in np.argsort(-objects.state, kind="stable"):  # hidden ones lie under the visible ones
        identity, state, center, color = objects.ids[k], objects.state[k], centers[k], tuple(colors[k])
        pen.disc(center, radius + 1.5, GROUND)
        if state == VISIBLE:
            pen.disc(center, radius, color)
        else:
            pen.lines(dashes(center + radius * circle, radius * 0.45), color, max(1, pen.width - 1))
        ink = text_color(color) if state == VISIBLE else color
        size = min(1.0, 1.5 * radius / pen.text_size(str(identity))[0])
        (width, height), _ = cv2.getTextSize(str(identity), cv2.FONT_HERSHEY_DUPLEX, pen.text * size, 1)
        at = (round(center[0] - width / 2), round(center[1] + height / 2))
        cv2.putText(pen.image, str(identity), at, cv2.FONT_HERSHEY_DUPLEX, pen.text * size, ink, 1, cv2.LINE_AA)
