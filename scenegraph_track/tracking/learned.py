"""Where a learned tracker enters the reference tracker's association."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from scenegraph_track.tracking.situation import Situation


@dataclass(frozen=True)
class Correction:
    """What a learned tracker changes in the similarities of a frame.

    Args:
        track: (E,) rows of tracks.
        detection: (E,) rows of detections; no pair stands there twice.
        change: (E,) is added to the similarity of the pair in every stage; other pairs stay as they are.
        probability: (E,) of the match.
        cues: (E, 5) weight of each cue behind it.
        notes: What the learned tracker wants back in `LearnedCost.remember`.
    """

    track: np.ndarray
    detection: np.ndarray
    change: np.ndarray
    probability: np.ndarray
    cues: np.ndarray
    notes: Any = None


class LearnedCost(Protocol):
    """A learned tracker behind the reference tracker's association."""

    def correct(self, situation: Situation) -> Correction:
        """What to change before anything is matched."""

    def remember(
        self, situation: Situation, correction: Correction, detection: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The memories of the tracks (N, D) after the match, and those that newborn tracks start with (M, D)."""
