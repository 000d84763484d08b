"""What OpenCV lacks: sub-pixel drawing in continuous coordinates, dashes, and labels that give way to each other."""

from __future__ import annotations

import cv2
import numpy as np

from scenegraph_track.visualize.colors import text_color

FONT = cv2.FONT_HERSHEY_DUPLEX
_BITS = 4  # sub-pixel steps of 1/16

Color = tuple[int, int, int]


class Pen:
    """Widths and text sizes that suit a picture, and the labels that stand in it already.

    Args:
        image: (H, W, 3) uint8 RGB that is drawn into, in place.
    """

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        unit = min(image.shape[:2]) / 480
        self.width = max(1, round(1.8 * unit**0.7))
        self.text = float(np.clip(0.5 * unit**0.6, 0.42, 1.4))
        self.pad = max(2, round(4 * unit**0.6))
        self.taken = np.zeros((0, 4))

    def lines(self, points: list[np.ndarray], color: Color, width: int | None = None, closed: bool = False) -> None:
        """Polylines, each (K, 2) xy in continuous pixel coordinates."""
        fixed = [np.round((np.asarray(p) - 0.5) * (1 << _BITS)).astype(np.int32) for p in points if len(p)]
        cv2.polylines(self.image, fixed, closed, color, width or self.width, cv2.LINE_AA, _BITS)

    def box(self, box: np.ndarray, color: Color, width: int | None = None) -> None:
        """A rectangle (4,) xyxy."""
        self.lines([_corners(box)], color, width, closed=True)

    def dashed(self, points: np.ndarray, color: Color, width: int | None = None) -> None:
        """A dashed polyline through (K, 2) xy."""
        self.lines(dashes(points, 4.0 * max(self.width, 2)), color, width)

    def disc(self, center: np.ndarray, radius: float, color: Color, width: int = cv2.FILLED) -> None:
        """A circle, filled unless a line width is given."""
        at = np.round((np.asarray(center) - 0.5) * (1 << _BITS)).astype(int).tolist()
        cv2.circle(self.image, at, round(radius * (1 << _BITS)), color, width, cv2.LINE_AA, _BITS)

    def arrow(self, points: np.ndarray, color: Color, width: int | None = None) -> None:
        """A polyline (K, 2) with a head at its end and a dark rim, so that it reads on any ground."""
        width = width or self.width
        tip, back = points[-1], points[-1] - points[max(-4, -len(points))]
        length = float(np.hypot(*back))
        if length < 1e-6:
            return
        along = back / length * (2.5 * width + 4)
        across = np.array([-along[1], along[0]]) * 0.55
        head = np.stack([tip - along + across, tip, tip - along - across])
        for ink, extra in (((20, 20, 20), 2), (color, 0)):
            self.lines([points, head], ink, width + extra)

    def text_size(self, text: str, size: float = 1.0) -> tuple[int, int]:
        """(width, height) of a text with its padding."""
        (width, height), _ = cv2.getTextSize(text, FONT, self.text * size, 1)
        return width + 2 * self.pad, max(height, round(21 * self.text * size)) + 2 * self.pad

    def write(self, text: str, corner: tuple[float, float], color: Color, size: float = 1.0) -> None:
        """Text whose padded box has its upper left corner there."""
        x, y = round(corner[0]) + self.pad, round(corner[1]) + self.text_size(text, size)[1] - self.pad
        cv2.putText(self.image, text, (x, y), FONT, self.text * size, color, 1, cv2.LINE_AA)

    def label(
        self, texts: tuple[str, ...], box: np.ndarray, color: Color, quiet: bool = False, size: float = 1.0
    ) -> bool:
        """Put a label at a box where it covers no other one; of several texts the first that finds room.

        Args:
            texts: From the full text to the shortest one.
            box: (4,) xyxy to label.
            color: Colour of the object.
            quiet: Coloured text on dark instead of dark text on colour.
            size: Factor on the text size.

        Returns:
            False where there was no room for any of them, and nothing was written.
        """
        for text in texts:
            width, height = self.text_size(text, size)
            places = _places(box, width, height, self.image.shape)
            covered = _overlap(places, self.taken).sum(1)
            best = int(np.argmax(covered <= 0)) if (covered <= 0).any() else int(np.argmin(covered))
            if covered[best] > 0.2 * width * height:
                continue
            x, y = np.round(places[best, :2]).astype(int).tolist()
            ground = (28, 28, 28) if quiet else color
            cv2.rectangle(self.image, (x, y), (x + width - 1, y + height - 1), ground, cv2.FILLED)
            self.write(text, (x, y), color if quiet else text_color(color), size)
            self.taken = np.vstack([self.taken, places[best]])
            return True
        return False

    def blend(self, drawn: np.ndarray, opacity: float) -> None:
        """Mix a drawn-on copy of the picture into it."""
        cv2.addWeighted(drawn, opacity, self.image, 1 - opacity, 0, dst=self.image)


def dashes(points: np.ndarray, length: float) -> list[np.ndarray]:
    """Cut a polyline (K, 2) into dashes of about ``length`` pixels with gaps of the same length."""
    points = np.asarray(points, dtype=float)
    at = np.r_[0.0, np.cumsum(np.hypot(*np.diff(points, axis=0).T))]
    count = max(int(at[-1] / length) // 2, 1)
    edges = np.linspace(0, at[-1], 2 * count + 1)
    starts, ends = edges[:-1:2], edges[1::2]
    x1, y1 = (np.interp(starts, at, points[:, k]) for k in (0, 1))
    x2, y2 = (np.interp(ends, at, points[:, k]) for k in (0, 1))
    corner = [points[1:-1][(at[1:-1] > a) & (at[1:-1] < b)] for a, b in zip(starts, ends)]
    return [np.vstack([[a, b], mid, [c, d]]) for a, b, mid, c, d in zip(x1, y1, corner, x2, y2)]


def outline(box: np.ndarray) -> np.ndarray:
    """Closed outline (5, 2) of a box (4,) xyxy."""
    corners = _corners(box)
    return np.vstack([corners, corners[:1]])


def _corners(box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = box
    return np.array([[x1, y1], [x2, y1], [x2, y2], [x1, y2]])


def _places(box: np.ndarray, width: int, height: int, shape: tuple[int, ...]) -> np.ndarray:
    """Where a label of a box may stand, best first, all inside the picture: (P, 4) xyxy."""
    x1, y1, x2, y2 = box
    lefts = np.array([x1, x2 - width, x1, x1, x2 - width, x1, x2, x1 - width, x2, x1 - width, (x1 + x2 - width) / 2])
    tops = np.array(
        [y1 - height, y1 - height, y1, y2, y2, y2 - height, y1, y1, y2 - height, y2 - height, y1 - 2.1 * height]
    )
    lefts = np.clip(lefts, 0, max(shape[1] - width, 0))
    tops = np.clip(tops, 0, max(shape[0] - height, 0))
    return np.stack([lefts, tops, lefts + width, tops + height], -1)


def _overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Common area (A, B) of boxes (A, 4) and (B, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.clip(high - low, 0, None).prod(-1)
