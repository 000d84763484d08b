"""Pictures of depth maps, of flow, and of trajectories seen from above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_path
from scenegraph_track.visualize.canvas import Pen

PAPER, INK, PALE = (250, 249, 246), (38, 40, 46), (205, 206, 210)
TRUTH, ESTIMATE = (38, 40, 46), (226, 88, 34)
UNKNOWN = (206, 206, 210)

WHEEL = {
    (255, 0, 0): 15,
    (255, 255, 0): 6,
    (0, 255, 0): 4,
    (0, 255, 255): 11,
    (0, 0, 255): 13,
    (255, 0, 255): 6,
}
"""The colour wheel of flow (Baker et al., 2011): the length of the arc from each colour to the next."""

_GAP, _TITLE, _SHORTEST = 6, 26, 160


def depth_colors(depth: np.ndarray, nearest: float, farthest: float) -> np.ndarray:
    """Depth in colours, near red, far blue, by its logarithm.

    Args:
        depth: (H, W); what is not positive is drawn grey.
        nearest: Depth of the one end of the scale.
        farthest: Depth of the other.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    known = np.isfinite(depth) & (depth > 0)
    ratio = np.log(np.where(known, depth, farthest) / farthest) / min(np.log(nearest / farthest), -1e-6)
    grey = np.round(255 * np.clip(ratio, 0, 1)).astype(np.uint8)
    colors = cv2.cvtColor(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO), cv2.COLOR_BGR2RGB)
    colors[~known] = UNKNOWN
    return colors


def flow_colors(flow: np.ndarray, longest: float) -> np.ndarray:
    """Flow on the usual colour wheel: the hue is the direction (red to the right, yellow down), white stands still.

    Args:
        flow: (H, W, 2) pixels.
        longest: Length of the fullest colours, pixels; longer flow is drawn darker.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    length = np.linalg.norm(flow, axis=-1) / max(longest, 1e-6)
    turn = np.mod(np.arctan2(flow[..., 1], flow[..., 0]) / (2 * np.pi), 1)
    at = np.r_[0, np.cumsum(list(WHEEL.values()))] / sum(WHEEL.values())
    corners = np.array([*WHEEL, next(iter(WHEEL))], float)
    hue = np.stack([np.interp(turn, at, corners[:, channel]) for channel in range(3)], -1)
    colors = 255 - np.minimum(length, 1)[..., None] * (255 - hue)
    colors[length > 1] *= 0.75
    return np.round(colors).astype(np.uint8)


def depth_row(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A row of depth maps as pictures, all in the colours of the true depth.

    Args:
        maps: ``image`` (H, W, 3) uint8, ``truth`` (H, W), and other depth maps (H, W) of any scale, each of which is
            brought to the median of the truth.

    Returns:
        Pictures (H, W, 3) uint8 RGB by the same names.
    """
    truth = maps["truth"]
    nearest, farthest = np.quantile(truth[truth > 0], [0.02, 0.98]) if (truth > 0).any() else (1.0, 2.0)
    row = {"image": maps["image"]}
    for name, depth in maps.items():
        if name != "image":
            both = (depth > 0) & (truth > 0)
            factor = np.median(truth[both]) / np.median(depth[both]) if both.any() else 1.0
            row[name] = depth_colors(depth * factor, nearest, farthest)
    return row


def flow_row(maps: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A row of flows as pictures, all in the colours of the true flow.

    Args:
        maps: ``image`` (H, W, 3) uint8, ``truth`` and other flows (H, W, 2).

    Returns:
        Pictures (H, W, 3) uint8 RGB by the same names.
    """
    longest = max(1.0, float(np.quantile(np.linalg.norm(maps["truth"], axis=-1), 0.98)))
    drawn = {name: flow_colors(flow, longest) for name, flow in maps.items() if name != "image"}
    return {"image": maps["image"], **drawn}


def sheet(rows: Sequence[Mapping[str, np.ndarray]], titles: Mapping[str, str]) -> np.ndarray:
    """Pictures in rows, with a title over each column.

    Args:
        rows: Pictures (H, W, 3) uint8 RGB of one size, by the name of the column.
        titles: What stands over each column; columns that no row has are left out.

    Returns:
        (H, W, 3) uint8 RGB.

    Raises:
        UserError: There are no rows.
    """
    columns = [name for name in titles if any(name in row for row in rows)]
    if not columns:
        raise UserError("sheet: expected at least one row of pictures")
    height, width = rows[0][columns[0]].shape[:2]
    factor = max(1, -(-_SHORTEST // min(height, width)))
    height, width = height * factor, width * factor
    canvas = np.full((_TITLE + len(rows) * (height + _GAP), len(columns) * (width + _GAP) - _GAP, 3), PAPER, np.uint8)
    pen = Pen(canvas)
    pen.text, pen.pad = 0.5, 4
    for k, name in enumerate(columns):
        left = k * (width + _GAP)
        pen.write(titles[name], (left, 0), INK)
        for r, row in enumerate(rows):
            if name in row:
                top = _TITLE + r * (height + _GAP)
                picture = cv2.resize(row[name], (width, height), interpolation=cv2.INTER_NEAREST)
                canvas[top : top + height, left : left + width] = picture
    return canvas


def trajectory_panel(
    truth: np.ndarray, estimate: np.ndarray, title: str, size: tuple[int, int] = (320, 320)
) -> np.ndarray:
    """Two trajectories seen from above: x to the right, z upwards, both axes in one scale.

    Args:
        truth: (T, 3) positions; x right, y down, z ahead.
        estimate: (N, 3), aligned.
        title: What stands over them.
        size: (W, H) pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    pen = Pen(np.full((size[1], size[0], 3), PAPER, np.uint8))
    pen.text, pen.pad = 0.45, 4
    points = np.concatenate([truth, estimate])[:, [0, 2]]
    low, high = points.min(0), points.max(0)
    room = np.array([size[0] - 40, size[1] - 100])
    factor = float((room / np.maximum(high - low, 1e-9)).min()) if (high > low).any() else 1.0
    middle, center = (low + high) / 2, np.array([size[0] / 2, 34 + room[1] / 2 + 10])

    def placed(positions: np.ndarray) -> np.ndarray:
        return center + (positions[:, [0, 2]] - middle) * factor * np.array([1, -1])

    pen.box(np.array([0.5, 0.5, size[0] - 0.5, size[1] - 0.5]), PALE, 1)
    for positions, color, width in ((truth, TRUTH, 3), (estimate, ESTIMATE, 2)):
        pen.lines([placed(positions)], color, width)
    pen.disc(placed(truth)[0], 4, TRUTH)
    pen.write(title, (6, 2), INK)
    step = _round_length(0.4 * room[0] / factor)
    ruler = np.array([[20, size[1] - 34], [20 + step * factor, size[1] - 34]])
    pen.lines([ruler], INK, 2)
    pen.write(f"{step:g} m", (ruler[1, 0] + 2, size[1] - 46), INK)
    left = 12
    for text, color in (("truth", TRUTH), ("estimate", ESTIMATE)):
        pen.write(text, (left, size[1] - 28), color)
        left += pen.text_size(text)[0] + 8
    return pen.image


def _round_length(longest: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not longer."""
    power = 10.0 ** np.floor(np.log10(max(longest, 1e-9)))
    return float(power * max(step for step in (1, 2, 5) if step * power <= longest * (1 + 1e-9)))


def tiles(panels: Sequence[np.ndarray], columns: int = 3) -> np.ndarray:
    """Pictures of one size in rows of a few, (H, W, 3) uint8 RGB."""
    columns = min(columns, len(panels))
    empty = [np.full_like(panels[0], PAPER)] * (-len(panels) % columns)
    filled = [*panels, *empty]
    return np.vstack([np.hstack(filled[k : k + columns]) for k in range(0, len(filled), columns)])


def write_picture(rgb: np.ndarray, path: str | Path) -> None:
    """Write a picture as JPEG or PNG; the file appears whole or not at all."""
    options = [] if Path(path).suffix.lower() == ".png" else [cv2.IMWRITE_JPEG_QUALITY, 90]
    with atomic_path(path) as temporary:
        cv2.imwrite(str(temporary), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
