"""A sentence per object and frame.

It names the first of a fixed list of attribute sets, from short to long, that is true of this object alone among those
that can be seen; further true attributes (what hides it, its pattern, its motion) are added by turns, for variety.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.raster import Studio
from scenegraph_track.data.worlds.truth import ObjectTruth

SIDES = ("on the left", "in the middle", "on the right")
DIRECTIONS = ("still", "left", "right", "towards the camera", "away")
STILL_BELOW = 0.12
"""Metres per second."""
BEHIND_FROM = 0.05
"""Share of a silhouette that something must hide to be named."""
MENTION_FROM = 0.15
"""Share from which it is always named."""

ATTRIBUTES = ("colour", "pattern", "shape", "size", "motion", "behind", "side")
_SUBSETS = (
    ("colour", "shape"),
    ("pattern", "shape"),
    ("colour", "pattern", "shape"),
    ("colour", "shape", "size"),
    ("colour", "shape", "motion"),
    ("colour", "pattern", "shape", "size"),
    ("colour", "shape", "behind"),
    ("colour", "shape", "side"),
    ("colour", "pattern", "shape", "motion"),
    ("colour", "pattern", "shape", "side"),
    ("colour", "pattern", "shape", "size", "motion"),
    ("colour", "pattern", "shape", "behind", "motion"),
    ("colour", "pattern", "shape", "size", "motion", "side"),
    ATTRIBUTES,
)
_KEYS = np.array([[(name in subset) << (8 * k) for subset in _SUBSETS] for k, name in enumerate(ATTRIBUTES)])
"""(attributes, subsets): makes one number of the codes (each below 256) of a subset."""


@dataclass(frozen=True)
class Caption:
    """What is said of an object in a frame.

    Args:
        sentence: English, without a full stop.
        said: The attributes that the sentence names, with their values.
        identifies: Whether it is true of this object and of no other that can be seen in the frame.
    """

    sentence: str
    said: dict[str, str]
    identifies: bool


class Captioner:
    """Writes the sentences of a scene."""

    def __init__(self, studio: Studio) -> None:
        scene = studio.scene
        self.scene = scene
        words = [
            (t.attributes.colour, t.attributes.pattern, t.attributes.shape, t.attributes.size) for t in scene.objects
        ]
        self.words = words
        self.static_codes = np.array(
            [[sorted({w[k] for w in words}).index(w[k]) for k in range(4)] for w in words], np.int64
        ).reshape(len(words), 4)
        self.things_behind = [f"the {w[0]} {w[2]}" for w in words]
        self.things_behind += [f"the {t.attributes.shape}" for t in scene.occluders]
        self.verbs = ["hopping" if t.attributes.motion == "bouncing" else "moving" for t in scene.objects]
        self.directions = self._directions(studio)

    def _directions(self, studio: Studio) -> NDArray[np.int64]:
        """(T, N) index into `DIRECTIONS`: own motion in the world, seen along the camera's axes."""
        scene = self.scene
        frames, count = len(scene), len(scene.objects)
        if frames < 2 or not count:
            return np.zeros((frames, count), np.int64)
        places = np.stack([t.world_from_object[:, :3, 3] for t in scene.objects], 1)
        velocity = np.gradient(places, 1 / scene.frame_rate, axis=0)
        velocity[..., 1] = 0
        seen = np.einsum("tij,tnj->tni", studio.view[:, :3, :3], velocity)
        sideways = np.where(seen[..., 0] < 0, 1, 2)
        along = np.where(seen[..., 2] < 0, 3, 4)
        direction = np.where(np.abs(seen[..., 0]) >= np.abs(seen[..., 2]), sideways, along)
        return np.where(np.hypot(velocity[..., 0], velocity[..., 2]) < STILL_BELOW, 0, direction)

    def describe(self, truth: ObjectTruth, frame: int) -> tuple[Caption, ...]:
        """The captions of all objects in a frame, in the order of the objects."""
        count = len(self.words)
        if not count:
            return ()
        visible = truth.visible_fraction > 0
        middle = (truth.visible_boxes[:, 0] + truth.visible_boxes[:, 2]) / 2
        side = np.clip(middle * 3 / self.scene.size[0], 0, 2).astype(np.int64)
        shares = np.concatenate([truth.occluded_by, truth.occluded_by_static], 1)
        hider = shares.argmax(1)
        share = shares[np.arange(count), hider]
        behind = [self.things_behind[h] if s > BEHIND_FROM else "" for h, s in zip(hider, share)]
        names = {name: code for code, name in enumerate(dict.fromkeys(behind))}
        direction = self.directions[frame]
        codes = np.column_stack([self.static_codes, direction, [names[b] for b in behind], side])
        keys = codes @ _KEYS
        unique = ((keys[:, None] == keys[None]) & visible[None, :, None]).sum(1) == 1
        unique &= visible[:, None]
        unique[:, [k for k, s in enumerate(_SUBSETS) if "behind" in s]] &= share[:, None] > BEHIND_FROM
        best = np.where(unique.any(1), unique.argmax(1), 2)
        captions = []
        for i, word in enumerate(self.words):
            subset = _SUBSETS[best[i]]
            values = (*word, DIRECTIONS[direction[i]], behind[i], SIDES[side[i]])
            said = {name: value for name, value in zip(ATTRIBUTES, values) if name in subset and value}
            if share[i] > MENTION_FROM:
                said["behind"] = behind[i]
            if (i + frame // 8) % 2:
                said["pattern"] = word[1]
            if visible[i] and direction[i] and (i + len(said)) % 2 == 0:
                said["motion"] = DIRECTIONS[direction[i]]
            captions.append(Caption(sentence(said, self.verbs[i]), said, bool(unique[i].any())))
        return tuple(captions)


def sentence(said: dict[str, str], verb: str = "moving") -> str:
    """English for a set of attributes, as in "the green striped disk behind the pillar, moving left"."""
    head = [said[name] for name in ("size", "colour", "pattern", "shape") if name in said]
    text = "the " + " ".join(head)
    if "behind" in said:
        text += f" behind {said['behind']}"
    if "side" in said:
        text += f" {said['side']}"
    if "motion" in said:
        text += ", standing still" if said["motion"] == "still" else f", {verb} {said['motion']}"
    return text
