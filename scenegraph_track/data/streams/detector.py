"""The simulated detector: which objects it finds in which frame, where it puts the boxes, and how it scores them."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.streams.bodies import Boxes
from scenegraph_track.data.streams.calibration import scores_from_quality
from scenegraph_track.data.streams.camera import CameraPath
from scenegraph_track.data.streams.clutter import clutter_places, random_clutter
from scenegraph_track.data.streams.parameters import DetectorParameters
from scenegraph_track.data.streams.processes import autoregressive
from scenegraph_track.data.streams.suppression import Found, joined, overlapping_pairs, survives_nms


def detect(
    p: DetectorParameters,
    rng: np.random.Generator,
    camera: CameraPath,
    objects: Boxes,
    visibility: np.ndarray,
    extent: np.ndarray,
    phase: np.ndarray,
) -> tuple[Found, np.ndarray]:
    """Detect objects.

    Args:
        p: Parameters.
        rng: Source of randomness.
        camera: The camera (false positives stand in the world).
        objects: Boxes, depths and presence of S objects over T frames.
        visibility: Visible share of each box, shape (T, S).
        extent: Bounding box of the visible part in units of the box, shape (T, S, 4).
        phase: Phase of the steps, shape (T, S), radians.

    Returns:
        The detections sorted by frame, and their scores.
    """
    latent = _latents(p, rng, camera, *visibility.shape)
    found = _objects(p, rng, camera.image_size, objects, visibility, extent, phase, latent)
    found = _merged(p, found, objects, latent)
    found = _with_parts_and_copies(p, rng, found, latent)
    height = found.boxes[:, 3] - found.boxes[:, 1]
    usual = float(np.median(height)) if len(height) else camera.image_size[1] / 5
    found = joined([found, clutter_places(p, rng, camera), random_clutter(p, rng, camera, usual)])
    found = found.rows(found.quality > p.threshold)
    found = _inside_image(p, rng, found, camera.image_size)
    found = found.rows(np.argsort(found.frame, kind="stable"))
    found = found.rows(survives_nms(found, p.nms_overlap, len(camera.times)))
    top = rng.uniform(0.85, 1.0)
    noise = rng.standard_normal(len(found.frame))
    return found, scores_from_quality(found.quality / p.temperature, p.curve, p.curve_shape, p.scale, top, noise)


def _latents(
    p: DetectorParameters, rng: np.random.Generator, camera: CameraPath, frames: int, count: int
) -> dict[str, np.ndarray]:
    """Draw the slow processes of each object: luck, box errors, and flickering choices, each (T, S)."""
    rate = 1 / (camera.times[1] - camera.times[0]) if frames > 1 else 1.0
    seconds = np.array([p.luck_time, p.drift_time, p.drift_time, p.drift_time, p.drift_time, p.shrink_time, 0.25, 0.4])
    values = autoregressive(rng, frames, (seconds * rate)[:, None], count)
    names = ("luck", "drift_x", "drift_y", "drift_w", "drift_h", "shrink", "odd", "merge")
    return dict(zip(names, values.transpose(1, 0, 2), strict=True))


def _objects(
    p: DetectorParameters,
    rng: np.random.Generator,
    image_size: tuple[int, int],
    objects: Boxes,
    visibility: np.ndarray,
    extent: np.ndarray,
    phase: np.ndarray,
    latent: dict[str, np.ndarray],
) -> Found:
    count = visibility.shape[1]
    lasting = p.noise_level * p.object_spread * rng.standard_normal(count)
    frame, owner = np.nonzero(objects.present & (visibility > p.blind_below))
    box, seen = objects.boxes[frame, owner], visibility[frame, owner]
    n = len(frame)
    wide, tall = image_size
    size = box[:, 2:] - box[:, :2]
    inside = np.minimum(box[:, 2:], [wide, tall]) - np.maximum(box[:, :2], 0)
    outside = 1 - np.clip(inside / size, 0, 1).prod(-1)
    pick = {name: value[frame, owner] for name, value in latent.items()}
    halvings = np.maximum(0, np.log2(p.small * tall / size[:, 1]))
    quality = (
        p.threshold
        + p.margin
        - p.cover_loss * (1 - seen) ** p.cover_power
        - p.size_loss * halvings
        - p.border_loss * outside
    )
    quality += lasting[owner] + p.noise_level * (p.luck_spread * pick["luck"] + p.frame_noise * rng.standard_normal(n))

    shrinks = pick["shrink"] < _normal_quantile(p.shrink)
    part = np.where(shrinks[:, None], extent[frame, owner], [0.0, 0.0, 1.0, 1.0])
    quality -= p.part_loss * (1 - (part[:, 2:] - part[:, :2]).prod(-1))
    box = np.tile(box[:, :2], 2) + part * np.tile(size, 2)
    centre, size = (box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]
    grow = p.box_level * (1 + p.cover_jitter * (1 - seen))
    horizontal = np.array([p.jitter_width, 1.0])
    white = rng.standard_t(5, (n, 2, 2)) * (0.77 * p.jitter * grow)[:, None, None] * horizontal
    slow = np.stack([pick[name] for name in ("drift_x", "drift_y", "drift_w", "drift_h")], -1).reshape(n, 2, 2)
    slow *= (p.drift * grow)[:, None, None] * horizontal
    swing = np.stack([np.log1p(p.gait * np.sin(phase[frame, owner])), np.zeros(n)], -1)
    size *= np.exp(np.clip(white[:, 1] + slow[:, 1], -0.7, 0.7) + swing + [p.width_bias, p.height_bias])
    centre += p.centre_share * np.clip(white[:, 0] + slow[:, 0], -0.8, 0.8) * size
    centre[:, 0] += 0.3 * p.gait * np.sin(phase[frame, owner] / 2) * size[:, 0]
    return Found(frame, np.hstack([centre - size / 2, centre + size / 2]), quality, owner)


def _merged(p: DetectorParameters, found: Found, objects: Boxes, latent: dict[str, np.ndarray]) -> Found:
    """Replace some strongly overlapping pairs by one box around both, owned by the nearer object."""
    willing = latent["merge"][found.frame, found.owner] < _normal_quantile(p.merges)
    a, b = overlapping_pairs(found, 0.25, len(latent["merge"]))
    depth = objects.depth[found.frame, found.owner]
    pair = (depth[a] < depth[b]) & willing[b]
    a, b = a[pair], b[pair]
    boxes, quality = found.boxes.copy(), found.quality.copy()
    boxes[a, :2] = np.minimum(boxes[a, :2], boxes[b, :2])
    boxes[a, 2:] = np.maximum(boxes[a, 2:], boxes[b, 2:])
    quality[a] -= 0.7
    quality[b] = -np.inf
    return Found(found.frame, boxes, quality, found.owner)


def _with_parts_and_copies(
    p: DetectorParameters, rng: np.random.Generator, found: Found, latent: dict[str, np.ndarray]
) -> Found:
    """Turn some boxes into parts of themselves, and add second boxes of the same object."""
    odd = latent["odd"][found.frame, found.owner]
    splits = np.flatnonzero(odd < _normal_quantile(p.splits))
    boxes = found.boxes.copy()
    width, height = (boxes[splits, 2:] - boxes[splits, :2]).T
    share = rng.uniform(0.35, 0.65, len(splits))
    kind = rng.integers(3, size=len(splits))
    boxes[splits, 3] -= np.where(kind == 0, share * height, 0)
    boxes[splits, 1] += np.where(kind == 1, share * height, 0)
    boxes[splits, 2] -= np.where(kind == 2, share * width, 0)
    missing = np.where(odd < _normal_quantile(p.splits), 0.5 + 0.5 * p.part_loss, 0.0)
    whole = Found(found.frame, boxes, found.quality - missing, found.owner)
    second = np.flatnonzero(odd > -_normal_quantile(p.duplicates))
    copies = found.rows(second)
    size = np.tile(copies.boxes[:, 2:] - copies.boxes[:, :2], 2)
    moved = copies.boxes + rng.normal(0, 0.13, (len(second), 4)) * size
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 0.3 * size[:, 2:])
    copies = Found(copies.frame, moved, copies.quality - rng.uniform(0.5, 5.0, len(second)), copies.owner)
    return joined([whole, copies])


def _inside_image(p: DetectorParameters, rng: np.random.Generator, found: Found, image_size: tuple[int, int]) -> Found:
    """End truncated boxes at the image border (or not), round them, and drop what is hardly in the image."""
    limit = np.tile(np.array(image_size, float), 2)
    clipped = np.clip(found.boxes, 0, limit)
    boxes = np.where((rng.random(len(found.frame)) < p.clip)[:, None], clipped, found.boxes)
    boxes = np.round(boxes, p.digits)
    keep = ((clipped[:, 2:] - clipped[:, :2]) >= 2).all(-1) & ((boxes[:, 2:] - boxes[:, :2]) >= 2).all(-1)
    return Found(found.frame, boxes, found.quality, found.owner).rows(keep)


def _normal_quantile(share: float) -> float:
    """Return the value below which a standard normal variable falls with a given probability (to within 0.0005)."""
    if share <= 0:
        return -np.inf
    if share >= 1:
        return np.inf
    t = np.sqrt(-2 * np.log(min(share, 1 - share)))
    z = t - (2.515517 + 0.802853 * t + 0.010328 * t * t) / (1 + 1.432788 * t + 0.189269 * t * t + 0.001308 * t**3)
    return float(-z if share < 0.5 else z)
