"""Identity through occlusion: which objects carry the same identity after they were hidden as before.

An object is *hidden* in the frames where less than half of it is visible, or where the ground truth has no row for it
between two others.  An *episode* is what lies between two visible frames of an object with hidden frames between them.
Its duration is the number of hidden frames; its hidden fraction is that of its most hidden frame (1 where a row is
missing, which is also what ground truth does with an object that leaves the image and comes back).

The identity *before* is that of the last result box matched to the object (IoU >= 0.5, one to one) in the visible
frames before the episode, *after* that of the first one in the visible frames after it, both not further than
``reach`` from the episode and not beyond another one.  Then the episode is

- *untracked* if there is none before: there was no identity to keep, and it does not count;
- *kept* if the identity after is that before;
- *switched* if it is another;
- *lost* if there is none after.

A *gap* belongs to a result identity: what lies between two frames, not neighbours, in which its box is matched to a
visible object, if it is matched to none between them.  A box that is shown where an object is hidden does not end a
gap.  It is a *false re-identification* if the object after the gap is another than that before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, Self

import numpy as np

from scenegraph_track.evaluation.matched import MatchedTruth

VISIBLE, FULLY_VISIBLE = 0.5, 0.9
"""Least visible fraction of an object that is not hidden, and of one that is not even hidden a little."""

SECONDS = {
    "0-0.5 s": (0.0, 0.5),
    "0.5-1 s": (0.5, 1.0),
    "1-2 s": (1.0, 2.0),
    "2-5 s": (2.0, 5.0),
    "from 5 s": (5.0, np.inf),
}
"""Bins of duration; the upper end is no part of one."""

FRACTIONS = {
    "0-25 %": (0.0, 0.25),
    "25-50 %": (0.25, 0.5),
    "50-75 %": (0.5, 0.75),
    "75-100 %": (0.75, 1.0),
    "entirely": (1.0, np.inf),
}
"""Bins of the hidden fraction; the upper end is no part of one."""


class Outcome(IntEnum):
    """What became of an identity."""

    UNTRACKED = 0
    KEPT = 1
    SWITCHED = 2
    LOST = 3


class _Rows:
    """Arrays of the same length."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))  # type: ignore[arg-type]

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """Those of several sequences."""
        parts = list(parts)
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Episodes(_Rows):
    """E episodes in which an object of the ground truth was hidden.

    Args:
        objects: (E,) identity in the ground truth.
        frames: (E,) first hidden frame, from 1.
        seconds: (E,) how long the object was hidden.
        fractions: (E,) hidden fraction in [0, 1].
        outcomes: (E,) ``Outcome``.
        recovery: (E,) seconds from the first visible frame to the first result box, NaN where lost or untracked.
    """

    objects: np.ndarray
    frames: np.ndarray
    seconds: np.ndarray
    fractions: np.ndarray
    outcomes: np.ndarray
    recovery: np.ndarray


@dataclass(frozen=True, eq=False)
class Gaps(_Rows):
    """G gaps of result identities.

    Args:
        frames: (G,) first frame of the gap, from 1.
        seconds: (G,) its length.
        before: (G,) object of the ground truth before it.
        after: (G,) object after it.
    """

    frames: np.ndarray
    seconds: np.ndarray
    before: np.ndarray
    after: np.ndarray

    @property
    def false(self) -> np.ndarray:
        """(G,) bool, false re-identifications."""
        return self.before != self.after


def occlusion_episodes(matched: MatchedTruth, visible: float = VISIBLE, reach: float = 1.0) -> Episodes:
    """Find the episodes of a sequence and judge whether the results kept the identity.

    Args:
        matched: Ground truth with the results on it.
        visible: Least visible fraction of an object that is not hidden.
        reach: Seconds before and after an episode in which the identities are looked for.
    """
    share = matched.visible
    seen = np.flatnonzero(share >= visible)
    frame, who, identity = matched.frames[seen], matched.objects[seen], matched.identities[seen]
    same = who[1:] == who[:-1]
    last = np.flatnonzero(same & (np.diff(frame) > 1))  # the last visible row before each episode
    hidden_frames = frame[last + 1] - frame[last] - 1
    least = np.minimum.reduceat(np.r_[share, np.inf], np.c_[seen[last], seen[last + 1]].ravel())[::2]
    whole = seen[last + 1] - seen[last] - 1 == hidden_frames  # every hidden frame has a row
    fraction = 1.0 - np.where(whole, least, 0.0)

    breaks = np.r_[True, ~same | (np.diff(frame) > 1)]
    run = np.cumsum(breaks)
    tracked, index = identity >= 0, np.arange(len(seen))
    before = np.maximum.accumulate(np.where(tracked, index, -1))[last]
    after = np.minimum.accumulate(np.where(tracked, index, len(seen))[::-1])[::-1][last + 1]
    fps = matched.fps
    has_before = _near(before, last, run, frame, reach * fps)
    has_after = _near(after, last + 1, run, frame, reach * fps)
    before, after = np.where(has_before, before, 0), np.where(has_after, after, 0)
    outcome = np.where(identity[before] == identity[after], Outcome.KEPT, Outcome.SWITCHED)
    outcome = np.where(has_after, outcome, Outcome.LOST)
    outcome = np.where(has_before, outcome, Outcome.UNTRACKED)
    recovery = np.where(has_before & has_after, (frame[after] - frame[last + 1]) / fps, np.nan)
    return Episodes(who[last], frame[last] + 1, hidden_frames / fps, fraction, outcome, recovery)


def identity_gaps(matched: MatchedTruth, visible: float = VISIBLE) -> Gaps:
    """Find the gaps of the result identities of a sequence.

    Args:
        matched: Ground truth with the results on it.
        visible: Least visible fraction of an object that is not hidden.
    """
    seen = np.flatnonzero((matched.visible >= visible) & (matched.identities >= 0))
    seen = seen[np.lexsort((matched.frames[seen], matched.identities[seen]))]
    frame, who, identity = matched.frames[seen], matched.objects[seen], matched.identities[seen]
    last = np.flatnonzero((identity[1:] == identity[:-1]) & (np.diff(frame) > 1))
    missing = frame[last + 1] - frame[last] - 1
    return Gaps(frame[last] + 1, missing / matched.fps, who[last], who[last + 1])


def occlusion_figures(sequences: Iterable[MatchedTruth]) -> dict[str, Any]:
    """Figures of identity through occlusion over all episodes of several sequences, NaN where there are none.

    Returns:
        ``episodes``, ``untracked`` (counts); ``kept``, ``switched``, ``lost`` in percent of the episodes that were
        tracked before; ``recovery`` (mean seconds); ``gaps``, ``false_reidentifications`` (counts),
        ``false_per_100_gaps``; in ``seconds`` the same but the recovery for every bin of ``SECONDS``, and in ``hidden``
        what concerns episodes for every bin of ``FRACTIONS``.  The bins up to a half, which would be empty, hold the
        episodes in which less than half of an object was hidden between two frames with nine tenths visible.
    """
    sequences = list(sequences)
    episodes = Episodes.join(occlusion_episodes(one) for one in sequences)
    light = Episodes.join(occlusion_episodes(one, FULLY_VISIBLE) for one in sequences)
    light_only = light.fractions < 1.0 - VISIBLE
    fractions = np.concatenate([episodes.fractions, light.fractions[light_only]])
    outcomes = np.concatenate([episodes.outcomes, light.outcomes[light_only]])
    gaps = Gaps.join(identity_gaps(one) for one in sequences)
    recovery = episodes.recovery[np.isfinite(episodes.recovery)]
    return {
        **_shares(episodes.outcomes),
        "recovery": float(recovery.mean()) if len(recovery) else np.nan,
        **_errors(gaps.false),
        "seconds": {
            name: _shares(episodes.outcomes[_inside(episodes.seconds, edges)])
            | _errors(gaps.false[_inside(gaps.seconds, edges)])
            for name, edges in SECONDS.items()
        },
        "hidden": {name: _shares(outcomes[_inside(fractions, edges)]) for name, edges in FRACTIONS.items()},
    }


def _inside(values: np.ndarray, edges: tuple[float, float]) -> np.ndarray:
    return (values >= edges[0]) & (values < edges[1])


def _shares(outcomes: np.ndarray) -> dict[str, float | int]:
    tracked = outcomes[outcomes != Outcome.UNTRACKED]
    figures: dict[str, float | int] = {"episodes": len(outcomes), "untracked": len(outcomes) - len(tracked)}
    for outcome in (Outcome.KEPT, Outcome.SWITCHED, Outcome.LOST):
        figures[outcome.name.lower()] = 100.0 * float((tracked == outcome).mean()) if len(tracked) else np.nan
    return figures


def _errors(false: np.ndarray) -> dict[str, float | int]:
    return {
        "gaps": len(false),
        "false_reidentifications": int(false.sum()),
        "false_per_100_gaps": 100.0 * float(false.mean()) if len(false) else np.nan,
    }


def _near(found: np.ndarray, edge: np.ndarray, run: np.ndarray, frame: np.ndarray, reach: float) -> np.ndarray:
    """Whether a matched row exists in the same visible run as the edge of its episode, and near enough to it."""
    inside = (found >= 0) & (found < len(run))
    found = np.where(inside, found, edge)
    return inside & (run[found] == run[edge]) & (np.abs(frame[found] - frame[edge]) <= reach)
