"""Which part of each box can be seen: coverage by nearer boxes, counted on a grid of cells."""

from __future__ import annotations

import numpy as np

CELLS = 16  # a box is divided into 16 x 16 cells, one bit each
_PAIRS_PER_CHUNK = 2_000_000


def visible_cells(
    boxes: np.ndarray,
    depth: np.ndarray,
    present: np.ndarray,
    cover_boxes: np.ndarray,
    cover_depth: np.ndarray,
    cover_present: np.ndarray,
    image_size: tuple[int, int],
) -> np.ndarray:
    """Mark the cells of each box that lie inside the image and behind nothing nearer.

    Args:
        boxes: Boxes to look at, shape (T, N, 4), xyxy in pixels.
        depth: Their depths in metres, shape (T, N).
        present: Which of them exist, shape (T, N), bool.
        cover_boxes: Everything that may cover them (``boxes`` themselves included), shape (T, K, 4).
        cover_depth: Depths of the covers, shape (T, K); only a strictly smaller depth covers.
        cover_present: Which covers exist, shape (T, K), bool.
        image_size: Width and height in pixels.

    Returns:
        Bit c of entry [t, n, r] says that the cell in row r, column c is visible, shape (T, N, 16), uint16.
    """
    frames, count = depth.shape
    image = np.array([0.0, 0.0, *image_size])
    flat = np.flatnonzero(present)
    cells = np.zeros((frames * count, CELLS), np.uint16)
    cells[flat] = _cells_inside(boxes.reshape(-1, 4)[flat], image)
    chunk = max(1, _PAIRS_PER_CHUNK // max(1, count * cover_depth.shape[1]))
    for start in range(0, frames, chunk):
        rows = slice(start, start + chunk)
        box, cover = boxes[rows, :, None], cover_boxes[rows, None]
        pairs = cover_depth[rows, None] < depth[rows, :, None]
        pairs &= cover_present[rows, None]
        pairs &= present[rows, :, None]
        pairs &= cover[..., 0] < box[..., 2]
        pairs &= cover[..., 2] > box[..., 0]
        pairs &= cover[..., 1] < box[..., 3]
        pairs &= cover[..., 3] > box[..., 1]
        frame, behind, front = np.nonzero(pairs)
        if len(frame) == 0:
            continue
        covered = _cells_inside(boxes[start + frame, behind], cover_boxes[start + frame, front])
        owner = (start + frame) * count + behind
        first = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
        cells[owner[first]] &= ~np.bitwise_or.reduceat(covered, first, axis=0)
    return cells.reshape(frames, count, CELLS)


def visible_share(cells: np.ndarray) -> np.ndarray:
    """Return the share of visible cells, shape (T, N), in [0, 1]."""
    return np.bitwise_count(cells).sum(-1) / CELLS**2


def visible_extent(cells: np.ndarray) -> np.ndarray:
    """Return the bounding box of the visible cells in units of the box, shape (..., 4), xyxy; the whole box if none."""
    rows = cells != 0
    columns = (np.bitwise_or.reduce(cells, axis=-1)[..., None] >> np.arange(CELLS, dtype=np.uint16)) & 1 > 0
    some = rows.any(-1)
    edges = [
        np.where(some, columns.argmax(-1), 0),
        np.where(some, rows.argmax(-1), 0),
        CELLS - columns[..., ::-1].argmax(-1),
        CELLS - rows[..., ::-1].argmax(-1),
    ]
    return np.stack(edges, -1) / CELLS


def _cells_inside(box: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """Return as bits (P, 16) which cells of each box (P, 4) have their centre inside the cover (P, 4) or (4,)."""
    low = (cover[..., :2] - box[:, :2]) / (box[:, 2:] - box[:, :2]) * CELLS
    high = (cover[..., 2:] - box[:, :2]) / (box[:, 2:] - box[:, :2]) * CELLS
    first = np.clip(np.ceil(low - 0.5), 0, CELLS).astype(np.int32)
    last = np.clip(np.ceil(high - 0.5), 0, CELLS).astype(np.int32)
    last = np.maximum(first, last)
    columns = ((1 << last[:, 0]) - (1 << first[:, 0])).astype(np.uint16)
    row = np.arange(CELLS)
    inside = (row >= first[:, 1:]) & (row < last[:, 1:])
    return np.where(inside, columns[:, None], np.uint16(0))
