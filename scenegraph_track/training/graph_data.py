"""Pieces of simulated detection streams for the graph tracker, with what is known of every detection."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from scenegraph_track.config import TrackerSettings, load_config
from scenegraph_track.data.streams import PRESETS, Stream, simulate
from scenegraph_track.tracking.matching import paired_iou
from scenegraph_track.training.drawn_worlds import drawn_preset

FALSE = 0
"""Owner of detections that are no object's; owner k + 1 is the k-th identity of a clip."""


class GraphData(BaseModel):
    """What the network is shown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    presets: dict[str, float] = Field(
        {name: 1.0 for name in PRESETS if name not in ("mixed", "crowd", "crossing", "standing")}
        | {"crowd": 0.5, "crossing": 0.7, "standing": 0.7},
        description="share of each kind of stream",
    )
    clips: int = Field(4, ge=1, description="new pieces of streams in a batch")
    repeats: int = Field(3, ge=1, description="batches that a piece is in")
    frames: int = Field(64, ge=2, description="of each piece")
    burn_in: int = Field(4, ge=0, description="frames of these that only fill the memory")
    warm_up: int = Field(40, ge=1, description="largest number of frames before that only the tracker sees")
    policy: str = Field("none", description="weights of the graph tracker that makes the tracks; none: the reference")
    by_reference: float = Field(0.2, ge=0, le=1, description="share of pieces without it all the same")
    disturbed: float = Field(0.3, ge=0, le=1, description="share of pieces with noise on every similarity")
    disturbance: float = Field(0.15, ge=0, description="standard deviation of that noise")
    skip: list[int] = Field([1, 1, 1, 2, 3], min_length=1, description="every so manieth frame is kept; drawn from")
    slowest: float = Field(4.0, gt=0, description="frames per second below which none are skipped")
    depth: float = Field(0.4, ge=0, le=1, description="share of pieces whose detections have depths")
    appearance: float = Field(0.4, ge=0, le=1, description="share of pieces whose detections have embeddings")
    hidden_seconds: float = Field(3.0, gt=0, description="largest time that a hidden track is kept; drawn up to it")
    workers: int = Field(1, ge=0, description="processes that simulate")
    validation_streams: int = Field(2, ge=1, description="held-out streams of each validation preset")
    validation_presets: list[str] = Field(
        ["dance", "sports", "crowd", "street", "moving_camera", "long_occlusion"], min_length=1
    )
    validation_frames: int = Field(200, ge=2, description="of each")

    @field_validator("presets")
    @classmethod
    def _known(cls, presets: dict[str, float]) -> dict[str, float]:
        unknown = sorted(set(presets) - set(PRESETS))
        if unknown:
            raise ValueError(f"expected some of {', '.join(PRESETS)}, found {', '.join(unknown)}")
        return presets


@dataclass(frozen=True)
class Moment:
    """One frame of a clip.

    Args:
        timestamp: Seconds.
        boxes: (M, 4) detections, xyxy pixels.
        scores: (M,) raw.
        owner: (M,) `FALSE` or 1 + number of the identity in the clip.
        first: (M,) bool, the best detection of its object in this frame.
        depths: (M,) or None.
        embeddings: (M, D) or None.
        visibility: (I + 1,) visible part of each identity, 0 where it is not there.
        truth: (I + 1, 4) its box, NaN where it is not there.
    """

    timestamp: float
    boxes: np.ndarray
    scores: np.ndarray
    owner: np.ndarray
    first: np.ndarray
    depths: np.ndarray | None
    embeddings: np.ndarray | None
    visibility: np.ndarray
    truth: np.ndarray


@dataclass(frozen=True)
class Clip:
    """A piece of a stream.

    Args:
        moments: Its frames.
        warm_up: The first of them that only the tracker sees.
        settings: Of the tracker.
        image_size: (W, H).
        identities: Number of identities I.
    """

    moments: list[Moment]
    warm_up: int
    settings: TrackerSettings
    image_size: tuple[int, int]
    identities: int


def make_clip(rng: np.random.Generator, data: GraphData, split: str = "train") -> Clip:
    """A clip that follows from the generator."""
    preset = drawn_preset(rng, data.presets)
    warm, skip = int(rng.integers(1, data.warm_up + 1)), int(rng.choice(data.skip))
    count = warm + data.frames
    stream = simulate(preset, int(rng.integers(2**31)), split, frames=count * skip)
    if stream.frame_rate / skip < data.slowest:
        skip = 1
    moments, identities = _moments(rng, stream, range(0, count * skip, skip)[:count], data)
    settings = load_config("reference").tracker
    hidden = float(rng.uniform(settings.life.hidden_seconds, max(data.hidden_seconds, settings.life.hidden_seconds)))
    settings = settings.model_copy(update={"life": settings.life.model_copy(update={"hidden_seconds": hidden})})
    return Clip(moments, warm, settings, stream.image_size, identities)


def _moments(rng: np.random.Generator, stream: Stream, frames: range, data: GraphData) -> tuple[list[Moment], int]:
    """The wanted frames, mirrored or not, with the cues that this clip has."""
    names = np.unique(stream.truth_id)
    mirrored = rng.random() < 0.5
    depth = float(np.exp(rng.uniform(np.log(0.01), np.log(0.2)))) if rng.random() < data.depth else None
    looks = _Looks(rng, len(names)) if rng.random() < data.appearance else None
    out = []
    for frame in frames:
        boxes, scores, ids = stream.detections(frame)
        truth_ids, truth_boxes, visibility, depths = stream.truth(frame)
        boxes, truth_boxes = (_mirrored(b, stream.image_size[0]) if mirrored else b for b in (boxes, truth_boxes))
        place = np.searchsorted(names, truth_ids)
        known = {"visibility": np.zeros(len(names) + 1), "truth": np.full((len(names) + 1, 4), np.nan)}
        known["visibility"][place + 1], known["truth"][place + 1] = visibility, truth_boxes
        owner = np.where(ids > 0, np.searchsorted(names, np.maximum(ids, 1)) + 1, FALSE)
        owner = np.where(owner > len(names), FALSE, owner)
        out.append(
            Moment(
                timestamp=frame / stream.frame_rate,
                boxes=boxes,
                scores=scores,
                owner=owner,
                first=_best_of_each(boxes, scores, owner, known["truth"]),
                depths=None if depth is None else _depths(rng, owner, place, depths, depth),
                embeddings=None if looks is None else looks.of(rng, owner),
                **known,
            )
        )
    return out, len(names)


def _mirrored(boxes: np.ndarray, width: int) -> np.ndarray:
    return np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)


def _best_of_each(boxes: np.ndarray, scores: np.ndarray, owner: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(M,) bool, of the detections of an object the one that lies best on it (scores best where it is unknown)."""
    there = np.isfinite(truth[owner, 0])
    fit = np.where(there, 1.0 + paired_iou(boxes, np.where(there[:, None], truth[owner], boxes)), 0.0)
    order = np.lexsort((-scores, -fit, owner))
    best = np.ones(len(owner), dtype=bool)
    best[order[1:]] = owner[order[1:]] != owner[order[:-1]]
    return best & (owner != FALSE)


def _depths(
    rng: np.random.Generator, owner: np.ndarray, place: np.ndarray, depths: np.ndarray, noise: float
) -> np.ndarray:
    """Noisy depths of the detections; false ones have that of some object, a tenth have none."""
    by_owner = np.full(int(max(owner.max(initial=0), place.max(initial=0) + 1)) + 1, np.nan)
    by_owner[place + 1] = depths
    found = by_owner[owner]
    if len(depths):
        found = np.where(owner == FALSE, rng.choice(depths, len(owner)), found)
    found = found * np.exp(noise * rng.standard_normal(len(owner)))
    return np.where(rng.random(len(owner)) < 0.1, np.nan, found)


class _Looks:
    """Embeddings of the objects of a clip: each its own direction, more or less alike, seen with noise."""

    def __init__(self, rng: np.random.Generator, count: int, width: int = 16) -> None:
        alike = rng.uniform(0, 1.5)
        self.vectors = rng.standard_normal((count + 1, width)) + alike * rng.standard_normal(width)
        self.noise = float(np.exp(rng.uniform(np.log(0.2), np.log(2.0))))

    def of(self, rng: np.random.Generator, owner: np.ndarray) -> np.ndarray:
        """(M, D) of the detections."""
        found = self.vectors[owner]
        found[owner == FALSE] = rng.standard_normal(found[owner == FALSE].shape)
        return found + self.noise * rng.standard_normal(found.shape)
