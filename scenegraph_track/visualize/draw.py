"""Draw tracked objects into a frame: boxes, identities, trails, hidden objects and relations."""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.visualize.canvas import Pen, outline
from scenegraph_track.visualize.colors import relation_color, track_colors

VISIBLE = 0


@dataclass(frozen=True, eq=False)
class Drawable:
    """What is drawn of one frame, as plain arrays.

    Args:
        ids: (N,) integers; they choose the colours.
        boxes: (N, 4) xyxy in pixels of the frame.
        state: (N,) 0 visible, 1 hidden; all visible where not given.
        hidden_for: (N,) seconds since the object was last seen; 0 where not given.
        arrows: (i, j, relation) from the i-th object to the j-th.
        masks: (N, h, w) bool or float in [0, 1] at any resolution of the same view, or None.

    Raises:
        UserError: A field has another shape, a box is not finite, or an arrow points at no object.
    """

    ids: np.ndarray
    boxes: np.ndarray
    state: np.ndarray = field(default=None)  # type: ignore[assignment]
    hidden_for: np.ndarray = field(default=None)  # type: ignore[assignment]
    arrows: tuple[tuple[int, int, str], ...] = ()
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        n = len(self.ids)
        arrays = {
            "ids": (np.asarray(self.ids, dtype=np.int64), (n,)),
            "boxes": (np.asarray(self.boxes, dtype=np.float64), (n, 4)),
            "state": (np.zeros(n, np.int64) if self.state is None else np.asarray(self.state, dtype=np.int64), (n,)),
            "hidden_for": (
                np.zeros(n) if self.hidden_for is None else np.asarray(self.hidden_for, dtype=np.float64),
                (n,),
            ),
        }
        for name, (value, shape) in arrays.items():
            value = value.reshape(shape) if value.size == 0 and n == 0 else value
            if value.shape != shape:
                raise UserError(f"Drawable.{name}: expected shape {shape}, found {value.shape}")
            if not np.isfinite(value).all():
                raise UserError(
                    f"Drawable.{name}: expected finite numbers, row {np.argwhere(~np.isfinite(value))[0][0]} is not"
                )
            object.__setattr__(self, name, value)
        object.__setattr__(self, "arrows", tuple(self.arrows))
        wrong = next((a for a in self.arrows if not (0 <= a[0] < n and 0 <= a[1] < n)), None)
        if wrong is not None:
            raise UserError(f"Drawable.arrows: expected indices below {n}, found {wrong}")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != n):
            raise UserError(f"Drawable.masks: expected shape ({n}, h, w), found {self.masks.shape}")

    def scaled(self, factor: float) -> Drawable:
        """The same objects in a picture that is ``factor`` times as large."""
        return Drawable(self.ids, self.boxes * factor, self.state, self.hidden_for, self.arrows, self.masks)


@dataclass(frozen=True, eq=False)
class Trails:
    """Where the objects were during the last seconds; ``follow`` returns the trails one frame later.

    Args:
        seconds: Length of a trail.
        ids: (P,) identity of each point.
        times: (P,) seconds.
        points: (P, 2) xy of the middle of the lower edge of the box, in pixels.
    """

    seconds: float = 1.0
    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    times: np.ndarray = field(default_factory=lambda: np.zeros(0))
    points: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))

    def follow(self, objects: Drawable, timestamp: float) -> Trails:
        """The trails with the objects of a new frame at the end and what is too old cut off."""
        keep = self.times > timestamp - self.seconds
        feet = np.stack([(objects.boxes[:, 0] + objects.boxes[:, 2]) / 2, objects.boxes[:, 3]], -1)
        return Trails(
            self.seconds,
            np.r_[self.ids[keep], objects.ids],
            np.r_[self.times[keep], np.full(len(objects.ids), float(timestamp))],
            np.r_[self.points[keep], feet],
        )


def display_scale(size: tuple[int, int]) -> int:
    """Whole factor by which a frame of ``size`` (W, H) is enlarged so that labels are readable (1 from 267 pixels)."""
    return max(1, round(400 / min(size)))


def draw_tracks(
    rgb: np.ndarray,
    objects: Drawable,
    *,
    trails: Trails | None = None,
    scale: int | None = None,
    legend: bool = False,
    mask_opacity: float = 0.4,
) -> np.ndarray:
    """Draw the objects of one frame.

    Visible objects have a solid box and their identity; hidden ones a dashed, fainter box and the time since they were
    last seen.  Labels stay inside the picture and give way to each other; one that finds no room is left out.

    Args:
        rgb: (H, W, 3) uint8; it is not changed.
        objects: What to draw, in pixels of ``rgb``.
        trails: Paths of the last seconds, from ``trails.follow(objects, timestamp)``.
        scale: Whole factor to enlarge small frames by; None chooses with :func:`display_scale`.
        legend: Explain lines and arrows in the lower left corner.
        mask_opacity: Opacity of the masks, where the objects have some.

    Returns:
        (H * scale, W * scale, 3) uint8 RGB.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise UserError(f"draw_tracks: expected a frame (H, W, 3) uint8, found {rgb.shape} {rgb.dtype}")
    scale = display_scale((rgb.shape[1], rgb.shape[0])) if scale is None else scale
    if scale < 1:
        raise UserError(f"draw_tracks: expected a scale of at least 1, found {scale}")
    image = rgb.copy() if scale == 1 else cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    pen = Pen(image)
    objects = objects.scaled(scale)
    colors = [tuple(c) for c in track_colors(objects.ids).tolist()]
    hidden = objects.state != VISIBLE
    if objects.masks is not None:
        _draw_masks(image, objects.masks, colors, mask_opacity)
    if hidden.any() or trails is not None:
        faint = Pen(image.copy())
        if trails is not None:
            _draw_trails(faint, trails, scale)
        for i in np.flatnonzero(hidden):
            faint.dashed(outline(objects.boxes[i]), colors[i])
        pen.blend(faint.image, 0.7)
    for i in np.flatnonzero(~hidden):
        pen.box(objects.boxes[i], colors[i])
    centers = (objects.boxes[:, :2] + objects.boxes[:, 2:]) / 2
    for i, j, relation in objects.arrows:
        pen.arrow(np.stack([centers[i], centers[j]]), relation_color(relation))
        pen.disc(centers[i], pen.width + 1.5, relation_color(relation))
    if legend:
        draw_legend(pen, bool(hidden.any()), sorted({relation for _, _, relation in objects.arrows}))
    for i in np.lexsort((objects.ids, hidden)):
        name = str(objects.ids[i])
        texts = (f"{name} hidden {objects.hidden_for[i]:.1f} s", name) if hidden[i] else (name,)
        pen.label(texts, objects.boxes[i], colors[i], quiet=bool(hidden[i]))
    return image


def draw_legend(pen: Pen, hidden: bool, relations: list[str], top: bool = False) -> None:
    """Explain the signs that occur, in the lower (or upper) left corner; labels keep off it."""
    rows = [("visible", (235, 235, 235))] + [("hidden", (235, 235, 235))] * hidden
    rows += [(name.replace("_", " "), relation_color(name)) for name in relations]
    height = pen.text_size("0")[1]
    sample = 2.2 * height
    width = sample + max(pen.text_size(name)[0] for name, _ in rows) + pen.pad
    left, upper = pen.pad, pen.pad if top else max(pen.image.shape[0] - pen.pad - height * len(rows), 0)
    lower = upper + height * len(rows)
    patch = pen.image[upper:lower, left : round(left + width)]
    patch[:] = (patch * 0.3).astype(np.uint8)
    for k, (name, color) in enumerate(rows):
        y = upper + (k + 0.5) * height
        line = np.array([[left + pen.pad, y], [left + sample - pen.pad, y]])
        if k > hidden:
            pen.arrow(line, color)
        else:
            (pen.dashed if name == "hidden" else lambda points, ink: pen.lines([points], ink))(line, color)
        pen.write(name, (left + sample, upper + k * height), color)
    pen.taken = np.vstack([pen.taken, [left, upper, left + width, lower]])


def _draw_masks(image: np.ndarray, masks: np.ndarray, colors: list[tuple[int, int, int]], opacity: float) -> None:
    size = (image.shape[1], image.shape[0])
    for mask, color in zip(masks, colors):
        inside = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) > 0.5
        image[inside] = np.round((1 - opacity) * image[inside] + opacity * np.array(color)).astype(np.uint8)


def _draw_trails(pen: Pen, trails: Trails, scale: int) -> None:
    """Each trail in three pieces that grow thinner with age."""
    if not len(trails.ids):
        return
    order = np.lexsort((trails.times, trails.ids))
    ids, times, points = trails.ids[order], trails.times[order], trails.points[order] * scale
    age = (times.max() - times) / trails.seconds
    starts = np.r_[0, np.flatnonzero(np.diff(ids)) + 1, len(ids)]
    colors = track_colors(ids[starts[:-1]]).tolist()
    for a, b, color in zip(starts[:-1], starts[1:], colors):
        for oldest, youngest, width in ((1.01, 0.6, 0.5), (0.7, 0.25, 0.8), (0.35, -0.01, 1.2)):
            piece = points[a:b][(age[a:b] <= oldest) & (age[a:b] >= youngest)]
            if len(piece) > 1:
                pen.lines([piece], tuple(color), max(1, round(width * pen.width)))
