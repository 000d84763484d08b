"""A contact sheet: a clip and its ground truth at a glance."""

from __future__ import annotations

import colorsys
import textwrap

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.points import grid_queries
from scenegraph_track.data.worlds.render import WorldClip, WorldFrame
from scenegraph_track.data.worlds.scene import STATIC_LABEL

_PAPER, _INK, _PALE = (250, 249, 246), (38, 40, 46), (128, 132, 140)
_GAP, _TITLE = 8, 26
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def palette(index: int) -> tuple[int, int, int]:
    """A bright RGB colour for an object; neighbours in the list look different."""
    hue = (0.56 + 0.618034 * index) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62 + 0.25 * (index % 2), 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def colour_flow(flow: NDArray[np.float32], longest: float | None = None) -> NDArray[np.uint8]:
    """Optical flow on the colour wheel: hue is the direction, saturation the length.

    Args:
        flow: (H, W, 2) pixels.
        longest: Length at full saturation; None for the 98th percentile, at least 1.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    length, angle = cv2.cartToPolar(
        np.ascontiguousarray(flow[..., 0]), np.ascontiguousarray(flow[..., 1]), angleInDegrees=True
    )
    longest = max(1.0, float(np.quantile(length, 0.98))) if longest is None else longest
    hsv = np.dstack([angle, np.clip(length / longest, 0, 1), np.ones_like(length)]).astype(np.float32)
    return (255 * cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) + 0.5).astype(np.uint8)


def colour_depth(depth: NDArray[np.float32], nearest: float, farthest: float) -> NDArray[np.uint8]:
    """Depth on a perceptual map, near bright, far dark, by inverse depth between two limits in metres."""
    share = (1 / np.clip(depth, nearest, farthest) - 1 / farthest) / max(1 / nearest - 1 / farthest, 1e-6)
    grey = (255 * np.sqrt(np.clip(share, 0, 1))).astype(np.uint8)
    return cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_INFERNO), cv2.COLOR_BGR2RGB)


def colour_instances(frame: WorldFrame, strength: float = 0.72) -> NDArray[np.uint8]:
    """Objects in their colours, static occluders grey, over a faded image, with the outlines of the hidden parts."""
    faded = cv2.cvtColor(cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB) * 0.42 + 130
    tint = faded.copy()
    tint[frame.instance >= STATIC_LABEL] = (112, 116, 126)
    for index in range(len(frame.ids)):
        tint[frame.instance == index + 1] = palette(index)
    out = (faded + strength * (tint - faded)).astype(np.uint8)
    for index, mask in enumerate(frame.amodal_masks):
        if mask.any():
            contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(out, contours, -1, palette(index), 1, cv2.LINE_AA)
    return out


def _enlarged(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return cv2.resize(
        image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    )


def _trails(clip: WorldClip, index: int, factor: int, trail: int) -> NDArray[np.uint8]:
    """Point tracks over a dimmed frame: on the objects in their colours, elsewhere white."""
    size = clip.scene.size
    start = max(0, index - trail)
    queries = np.concatenate([grid_queries(index, size, max(size) / 9), _object_queries(clip.frames[index])])
    positions, visible = clip.track_points(queries)
    column, row = queries[:, 1:].astype(int).T
    labels = clip.frames[index].instance[row, column]
    canvas = _enlarged((clip.frames[index].image * 0.55).astype(np.uint8), factor)
    for q in range(len(queries)):
        label = int(labels[q])
        colour = palette(label - 1) if 0 < label < STATIC_LABEL else (205, 210, 215)
        path = positions[start : index + 1, q] * factor
        if not np.isfinite(path).all():
            continue
        points = np.round(16 * path).astype(np.int32)
        for t in range(len(points) - 1):
            if visible[start + t, q]:
                cv2.line(canvas, points[t].tolist(), points[t + 1].tolist(), colour, 1, cv2.LINE_AA, 4)
        cv2.circle(canvas, points[-1].tolist(), 16 * 2, colour, -1, cv2.LINE_AA, 4)
    return canvas


def _object_queries(frame: WorldFrame) -> NDArray[np.float32]:
    """Up to nine points spread over the visible part of every object."""
    queries = []
    for label in frame.ids:
        rows, columns = np.nonzero(frame.instance == label)
        chosen = np.linspace(0, len(rows) - 1, min(9, len(rows))).astype(int)
        queries += [[frame.index, columns[k] + 0.5, rows[k] + 0.5] for k in chosen]
    return np.array(queries, np.float32).reshape(-1, 3)


def _named(clip: WorldClip, index: int, factor: int) -> NDArray[np.uint8]:
    """The frame with the visible boxes of its objects."""
    frame = clip.frames[index]
    canvas = _enlarged(frame.image, factor)
    for i in range(len(frame.ids)):
        if frame.visible_fraction[i] > 0:
            x1, y1, x2, y2 = (int(v) for v in frame.visible_boxes[i] * factor)
            cv2.rectangle(canvas, (x1, y1), (x2 - 1, y2 - 1), palette(i), 1, cv2.LINE_AA)
    return canvas


def _write(canvas: NDArray, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
    cv2.putText(canvas, text, at, _FONT, size, colour, 1, cv2.LINE_AA)


def contact_sheet(clip: WorldClip, columns: int = 4, width: int = 1600) -> NDArray[np.uint8]:
    """Frames with boxes, depth, masks, flow, point tracks and sentences of a clip on one sheet.

    Args:
        clip: A rendered clip.
        columns: How many frames to show, spread over the clip.
        width: Rough width of the sheet in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    w, h = clip.scene.size
    factor = max(1, round((width - 90) / columns / w))
    columns = min(columns, len(clip))
    shown = np.linspace(0.1 * (len(clip) - 1), 0.9 * (len(clip) - 1), columns).round().astype(int)
    depths = np.concatenate([clip.frames[i].depth.ravel()[::7] for i in shown])
    nearest, farthest = float(np.quantile(depths, 0.01)), float(np.quantile(depths, 0.97)) * 1.2
    motion = np.concatenate([np.hypot(*np.moveaxis(clip.frames[i].flow_forward, -1, 0)).ravel()[::7] for i in shown])
    longest = max(1.0, float(np.quantile(motion, 0.97)))
    trail = max(2, round(0.8 * clip.scene.frame_rate))
    rows = {
        "image": lambda i: _named(clip, i, factor),
        "masks": lambda i: _enlarged(colour_instances(clip.frames[i]), factor),
        "depth": lambda i: _enlarged(colour_depth(clip.frames[i].depth, nearest, farthest), factor),
        "flow": lambda i: _enlarged(colour_flow(clip.frames[i].flow_forward, longest), factor),
        "points": lambda i: _trails(clip, i, factor, trail),
    }
    left = 74
    cell_w, cell_h = w * factor + _GAP, h * factor + _GAP
    sheet_w = left + columns * cell_w + _GAP
    text = _text_block(clip, int(shown[len(shown) // 2]), sheet_w - left)
    sheet = np.full((2 * _TITLE + len(rows) * cell_h + len(text) + 2 * _GAP, sheet_w, 3), _PAPER, np.uint8)
    scene = clip.scene
    place = {"room": "a room", "street": "a street", "open": "open ground"}[scene.surroundings.kind]
    title = f"{scene.preset} / {scene.split} / seed {scene.seed}: {place}, camera {scene.camera.motion}"
    title += f", {scene.frame_rate:g} frames/s"
    _write(sheet, title, (left, 19), 0.5, _INK)
    for column, index in enumerate(shown):
        _write(sheet, f"{clip.frames[index].timestamp:.2f} s", (left + column * cell_w, _TITLE + 18), 0.42, _PALE)
        for row, draw in enumerate(rows.values()):
            top, start = 2 * _TITLE + row * cell_h, left + column * cell_w
            sheet[top : top + h * factor, start : start + w * factor] = draw(index)
    for row, name in enumerate(rows):
        _write(sheet, name, (12, 2 * _TITLE + row * cell_h + 16), 0.46, _INK)
    sheet[-len(text) - _GAP : -_GAP, left:] = text
    _write(sheet, "says", (12, sheet.shape[0] - len(text) - _GAP + 16), 0.46, _INK)
    return sheet


def _text_block(clip: WorldClip, index: int, width: int) -> NDArray[np.uint8]:
    """The sentences of a frame in two columns, each with the colour of its object."""
    frame = clip.frames[index]
    spoken = [(i, c) for i, c in enumerate(frame.captions) if frame.visible_fraction[i] > 0][:12]
    line, half = 20, (len(spoken) + 1) // 2
    block = np.full((max(1, half) * line + 6, width, 3), _PAPER, np.uint8)
    for place, (i, caption) in enumerate(spoken):
        x, y = (place // max(1, half)) * width // 2, (place % max(1, half)) * line
        cv2.rectangle(block, (x, y + 4), (x + 11, y + 15), palette(i), -1)
        note = "" if caption.identifies else "  (not unique)"
        text = textwrap.shorten(caption.sentence + note, max(20, (width // 2 - 30) // 8), placeholder="...")
        _write(block, text, (x + 20, y + 15), 0.44, _INK)
    return block
