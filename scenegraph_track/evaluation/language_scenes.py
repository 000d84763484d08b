"""Moments of held-out worlds at which sentences are put: when an object is first seen, and when two are seen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.families import COLOURS, SHAPES, is_unseen
from scenegraph_track.data.worlds.render import WorldClip, WorldFrame
from scenegraph_track.language.vocabulary import held_out_pair

VISIBLE, SIDE = 0.25, 8.0
"""Visible part and shorter side of the visible box (pixels) from which an object counts as seen."""


@dataclass(frozen=True)
class Query:
    """A sentence about an object.

    Args:
        row: The object.
        sentence: Of the worlds; true of this object alone.
        said: The attributes that it names.
        unseen: Whether no image of the training shows such an object (colour, pattern and shape together).
        unnamed: Whether it names a colour and a shape that no sentence of the training names together.
    """

    row: int
    sentence: str
    said: tuple[str, ...]
    unseen: bool
    unnamed: bool


@dataclass(frozen=True, eq=False)
class LanguageMoment:
    """One frame of a world.

    Args:
        image: (H, W, 3) uint8 RGB.
        before: The image one frame earlier, None in the first frame.
        boxes: (K, 4) of what is visible of the objects.
        areas: (K,) pixels of them, 0 of what cannot be seen.
        first: About objects that are seen for the first time.
        pair: About two objects of different looks; empty where there are no two.
        nothing: A sentence that is true of no object that can be seen.
    """

    image: NDArray[np.uint8]
    before: NDArray[np.uint8] | None
    boxes: NDArray[np.float32]
    areas: NDArray[np.int64]
    first: tuple[Query, ...]
    pair: tuple[Query, ...]
    nothing: str


def language_scenes(
    split: str,
    worlds: int,
    size: tuple[int, int] = (192, 144),
    preset: str = "standard",
    frames: int | None = 24,
    first: int = 0,
) -> list[LanguageMoment]:
    """The moments of several worlds, seeds ``first``, ``first + 1`` ..."""
    found: list[LanguageMoment] = []
    for seed in range(first, first + worlds):
        found += moments(render(sample_scene(preset, split, seed=seed, size=size, frames=frames)), seed)
    return found


def moments(clip: WorldClip, seed: int) -> list[LanguageMoment]:
    """The moments of a world: when objects are first seen, and the first one with two objects of different looks.

    Args:
        clip: Rendered.
        seed: What the sentence that is true of nothing is drawn from.
    """
    rng = np.random.default_rng((seed, 17))
    begun: set[int] = set()
    paired = False
    found = []
    for frame in clip.frames:
        seen = [row for row in np.flatnonzero(clear(frame)).tolist() if frame.captions[row].identifies]
        new = [row for row in seen if row not in begun]
        begun |= set(np.flatnonzero(clear(frame)).tolist())
        pair = [] if paired or frame.index == 0 else _two(clip, seen)
        if not new and not pair:
            continue
        paired = paired or bool(pair)
        before = clip.frames[frame.index - 1].image if frame.index else None
        queries = [tuple(query(clip, frame, row) for row in rows) for rows in (new, pair)]
        areas = np.array([int((frame.instance == one).sum()) for one in frame.ids])
        nothing = _untrue(rng, clip, frame)
        found.append(LanguageMoment(frame.image, before, frame.visible_boxes, areas, *queries, nothing))
    return found


def clear(frame: WorldFrame) -> NDArray[np.bool_]:
    """(K,) bool, which objects count as seen."""
    sides = (frame.visible_boxes[:, 2:] - frame.visible_boxes[:, :2]).min(1, initial=np.inf)
    return (frame.visible_fraction >= VISIBLE) & (sides >= SIDE)


def query(clip: WorldClip, frame: WorldFrame, row: int) -> Query:
    """The worlds' sentence about an object of a frame."""
    caption, words = frame.captions[row], clip.scene.objects[row].attributes
    colour, shape = list(COLOURS).index(words.colour), list(SHAPES).index(words.shape)
    both = "colour" in caption.said and "shape" in caption.said
    unseen = is_unseen(words.colour, words.pattern, words.shape)
    return Query(row, caption.sentence, tuple(caption.said), unseen, both and held_out_pair(colour, shape))


def _two(clip: WorldClip, seen: list[int]) -> list[int]:
    looks = {row: clip.scene.objects[row].attributes for row in seen}
    for one in seen:
        for other in seen:
            if one < other and (looks[one].colour, looks[one].shape) != (looks[other].colour, looks[other].shape):
                return [one, other]
    return []


def _untrue(rng: np.random.Generator, clip: WorldClip, frame: WorldFrame) -> str:
    """A colour and a shape of which no object in view has either."""
    seen = [clip.scene.objects[row].attributes for row in np.flatnonzero(frame.visible_fraction > 0)]
    colours = [name for name in COLOURS if name not in {one.colour for one in seen}] or list(COLOURS)
    shapes = [name for name in SHAPES if name not in {one.shape for one in seen}] or list(SHAPES)
    return f"the {rng.choice(colours)} {rng.choice(shapes)}"
