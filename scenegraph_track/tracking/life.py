"""The beginning and the end of a track."""

from __future__ import annotations

import numpy as np

from scenegraph_track.config import TrackerSettings
from scenegraph_track.structures import TrackTable
from scenegraph_track.tracking import motion


def born_tracks(
    boxes: np.ndarray, sure: np.ndarray, classes: np.ndarray | None, settings: TrackerSettings, timestamp: float
) -> TrackTable:
    """Unconfirmed tracks at rest where the detections (N, 4) are, xyxy pixels."""
    n, bank = len(boxes), len(motion.BANK)
    centre, size = (boxes[:, :2] + boxes[:, 2:]) / 2, np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    height = size[:, 1]
    noises = settings.motion
    centre_covariance = np.stack([noises.centre_noise * height, 0 * height, noises.start_speed * height], axis=1) ** 2
    size_covariance = np.stack([noises.size_noise * height, 0 * height, 0.2 * noises.start_speed * height], axis=1) ** 2
    return TrackTable(
        ids=np.zeros(n, dtype=np.int64),
        hits=np.ones(n, dtype=np.int64),
        missed=np.zeros(n, dtype=np.int64),
        born=np.full(n, timestamp),
        seen=np.full(n, timestamp),
        scores=sure.astype(np.float64),
        classes=np.ones(n, dtype=np.int64) if classes is None else classes.astype(np.int64),
        centre=np.repeat(centre[:, None], bank, axis=1),
        centre_velocity=np.zeros((n, bank, 2)),
        centre_covariance=np.repeat(centre_covariance[:, None], bank, axis=1),
        size=size,
        size_velocity=np.zeros((n, 2)),
        size_covariance=size_covariance,
        mark=np.zeros((n, bank, 2)),
        mark_velocity=np.zeros((n, bank, 2)),
        mark_time=np.full(n, np.nan),
        last_box=boxes.astype(np.float64),
        depth=np.full(n, np.nan),
        appearance=np.zeros((n, 0)),
        memory=np.zeros((n, 0)),
    )


def has_left(
    tracks: TrackTable,
    boxes: np.ndarray,
    timestamp: float,
    settings: TrackerSettings,
    image_size: tuple[int, int] | None,
) -> np.ndarray:
    """Tracks to forget: hidden or unconfirmed for too long, or hidden and three quarters outside the image."""
    away = timestamp - tracks.seen
    horizon = np.where(tracks.ids > 0, settings.life.hidden_seconds, settings.life.tentative_seconds)
    left = away > horizon + 1e-9
    if image_size is not None:
        inside = np.clip(boxes, 0, np.array([*image_size, *image_size]))
        part = (inside[:, 2:] - inside[:, :2]).prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
        left |= (part < 0.25) & (away > 0)
    return left
