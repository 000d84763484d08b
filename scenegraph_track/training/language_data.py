"""What language is learned from: frames of rendered worlds, what is true of their objects, and sentences about them."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from scenegraph_track.data.worlds import render
from scenegraph_track.data.worlds.captions import ATTRIBUTES, BEHIND_FROM, DIRECTIONS, SIDES, Captioner
from scenegraph_track.data.worlds.raster import Studio
from scenegraph_track.data.worlds.render import WorldClip
from scenegraph_track.evaluation.clips import visible_parts, whole_boxes
from scenegraph_track.language.vocabulary import COLOURS, PATTERNS, SHAPES, SIZES, Tokenizer
from scenegraph_track.training.batches import Item
from scenegraph_track.training.chunks import Chunks
from scenegraph_track.training.drawn_worlds import (
    ClipSettings,
    Folder,
    Presets,
    Scenes,
    drawn_preset,
    drawn_scene,
)
from scenegraph_track.training.language_words import (
    NOBODY,
    Claim,
    Facts,
    drawn_claim,
    drawn_sentence,
    hider_code,
    swapped,
)

NAME = "language_clips"
"""Of the files."""

FINER = 4
"""Pixels of a cell of the maps of instances."""

SIDE, MOTION = ATTRIBUTES.index("side"), ATTRIBUTES.index("motion")

LENGTH = 24
"""Numbers of a sentence, the first of which is that of the start."""


class LanguageClipSettings(ClipSettings):
    """Which clips are rendered, once, and kept."""

    folder: Folder = "runs/language_clips"
    scenes: Scenes = 3072
    presets: Presets = Field({"standard": 0.9, "easy": 0.1})
    frames: int = Field(6, ge=2, description="of each clip")
    objects: int = Field(12, ge=1, description="most objects of a clip; clips with more are drawn again")


class LanguageData(BaseModel):
    """What is drawn from the clips."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    clips: int = Field(4, ge=1, description="clips in a batch, two frames of each")
    sentences: int = Field(3, ge=1, description="about each frame")
    swapped: float = Field(0.3, ge=0, le=1, description="share of sentences with one attribute swapped")
    free: float = Field(0.5, ge=0, le=1, description="share with attributes drawn, not those of the worlds' sentence")
    paraphrased: float = Field(0.5, ge=0, le=1, description="share put in other words")
    dropped: float = Field(0.05, ge=0, le=1, description="share of words that are replaced by the unknown one")
    templates: float = Field(0.3, ge=0, le=1, description="share of sentences with a box in the other frame")
    alone: float = Field(0.3, ge=0, le=1, description="share of frames without the one before")
    visible: float = Field(0.3, ge=0, le=1, description="least visible part of what is spoken of")
    smallest: float = Field(6.0, ge=1, description="least side of its visible box, pixels")
    colour: float = Field(0.1, ge=0, description="strength of the random changes of brightness and colour")
    workers: int = Field(1, ge=0, description="processes that prepare batches")
    validation_clips: int = Field(48, ge=1, description="held-out worlds")


def make_language_clip(index: int, settings: LanguageClipSettings) -> dict[str, NDArray]:
    """The clip of a number, with what `clip_facts` says of it."""
    rng = np.random.default_rng((settings.seed, index, 13))
    preset = drawn_preset(rng, settings.presets)
    while True:
        scene = drawn_scene(rng, preset, settings.size, settings.frames)
        if len(scene.objects) <= settings.objects:
            return clip_facts(render(scene), settings.objects)


def clip_facts(clip: WorldClip, objects: int) -> dict[str, NDArray]:
    """Images and truth of a clip, in arrays with ``objects`` K rows, 0 where there are fewer.

    Returns:
        ``images`` (T, H, W, 3) uint8; ``visible_boxes`` and ``boxes`` (T, K, 4) float32, the whole ones cut at the
        image; ``visible`` (T, K) float32; ``instance`` (T, H/4, W/4) uint8; ``codes`` (T, K, 7) int16, see
        `language_words.Facts`; ``told`` (T, K, 7) bool, what the worlds' own sentences name; ``hopping`` (K,) bool.
    """
    scene, count = clip.scene, len(clip.scene.objects)
    captioner = Captioner(Studio(scene))
    kinds = np.array(
        [
            [table.index(word) for table, word in zip((COLOURS, PATTERNS, SHAPES, SIZES), words)]
            for words in captioner.words
        ],
        np.int64,
    ).reshape(count, 4)
    codes = np.full((len(clip), count, len(ATTRIBUTES)), -1, np.int64)
    told = np.zeros((len(clip), count, len(ATTRIBUTES)), bool)
    for t, frame in enumerate(clip.frames):
        shares = np.concatenate([frame.occluded_by, frame.occluded_by_static], 1)
        hiders = shares.argmax(1) if shares.shape[1] else np.zeros(count, np.int64)
        middle = (frame.visible_boxes[:, 0] + frame.visible_boxes[:, 2]) / 2
        codes[t, :, :4] = kinds
        codes[t, :, MOTION] = captioner.directions[t]
        codes[t, :, SIDE] = np.clip(middle * len(SIDES) / scene.size[0], 0, len(SIDES) - 1).astype(int)
        for k, hider in enumerate(hiders):
            hidden = shares[k, hider] > BEHIND_FROM
            codes[t, k, ATTRIBUTES.index("behind")] = hider_code(captioner.things_behind[hider]) if hidden else NOBODY
            told[t, k] = [name in frame.captions[k].said for name in ATTRIBUTES]
    missing = objects - count
    rows = {
        "visible_boxes": np.stack([frame.visible_boxes for frame in clip.frames]),
        "boxes": whole_boxes(clip),
        "visible": visible_parts(clip),
        "codes": codes.astype(np.int16),
        "told": told,
    }
    instance = np.stack([frame.instance[FINER // 2 :: FINER, FINER // 2 :: FINER] for frame in clip.frames])
    return {
        **{name: np.pad(v, ((0, 0), (0, missing), *((0, 0),) * (v.ndim - 2))) for name, v in rows.items()},
        "images": np.stack([frame.image for frame in clip.frames]),
        "instance": np.where(instance <= objects, instance, 0).astype(np.uint8),
        "hopping": np.pad(np.array([verb == "hopping" for verb in captioner.verbs], bool), (0, missing)),
    }


def language_clips(
    settings: LanguageClipSettings, few: bool = False, rank: int = 0, world_size: int = 1
) -> Chunks[LanguageClipSettings]:
    """The clips of a folder in memory, one row a clip; see `Chunks`."""
    return Chunks(settings, make_language_clip, NAME, few, rank, world_size)


def draw_frames(
    rng: np.random.Generator, clips: Chunks[LanguageClipSettings], data: LanguageData, tokenizer: Tokenizer
) -> Item:
    """Two frames of a clip and sentences about each.

    Returns:
        ``images`` and ``before`` (1, 2, 3, H, W) uint8; ``moves`` (1, 2) bool, whether the frame before is known;
        ``visible_boxes`` and ``boxes`` (1, 2, K, 4); ``clear`` (1, 2, K) bool, what is seen well enough, and ``there``,
        what is seen at all; ``instance`` (1, 2, H/4, W/4); ``codes`` (1, 2, K, 7); ``ids`` (1, 2, S, L) numbers of the
        sentences, 0 behind their ends; ``true`` (1, 2, S, K) bool; ``template`` (1, 2, S), the object whose box in the
        other frame is given besides, or -1.
    """
    clip = next(clips.rows([int(rng.integers(len(clips)))]))
    chosen = rng.choice(len(clip["images"]), 2, replace=len(clip["images"]) < 2)
    if rng.random() < 0.5:
        clip = mirrored(clip)
    table = _colour_table(rng, data.colour)
    moves = (chosen > 0) & (rng.random(2) >= data.alone)
    frames = [_frame(rng, clip, int(t), bool(moving), data) for t, moving in zip(chosen, moves)]
    sentences = [_sentences(rng, clip, frames, k, data, tokenizer) for k in range(2)]
    images = cv2.LUT(np.concatenate(clip["images"][chosen]), table).reshape(2, *clip["images"].shape[1:])
    earlier = clip["images"][np.maximum(chosen - 1, 0)]
    before = cv2.LUT(np.concatenate(earlier), table).reshape(images.shape)
    parts = {
        "images": images.transpose(0, 3, 1, 2).copy(),
        "before": before.transpose(0, 3, 1, 2).copy(),
        "moves": moves,
        **{name: clip[name][chosen] for name in ("visible_boxes", "boxes", "instance")},
        "clear": np.stack([clear for _, clear, _ in frames]),
        "there": np.stack([facts.there for facts, _, _ in frames]),
        "codes": np.stack([facts.codes for facts, _, _ in frames]),
        **{name: np.stack([one[name] for one in sentences]) for name in sentences[0]},
    }
    return {name: torch.from_numpy(np.ascontiguousarray(value))[None] for name, value in parts.items()}


def _frame(
    rng: np.random.Generator, clip: dict[str, NDArray], t: int, moving: bool, data: LanguageData
) -> tuple[Facts, NDArray[np.bool_], NDArray[np.bool_]]:
    """What is true of a frame, which objects are seen well, and what its own sentences name."""
    codes = clip["codes"][t].astype(np.int64)
    told = clip["told"][t].copy()
    if not moving:
        codes[:, MOTION] = -1  # nobody can know it
        told[:, MOTION] = False
    boxes = clip["visible_boxes"][t]
    large = (boxes[:, 2:] - boxes[:, :2]).min(1) >= data.smallest
    clear = (clip["visible"][t] >= data.visible) & large
    return Facts(codes, clip["visible"][t] > 0), clear, told


def _sentences(
    rng: np.random.Generator,
    clip: dict[str, NDArray],
    frames: list[tuple[Facts, NDArray, NDArray]],
    k: int,
    data: LanguageData,
    tokenizer: Tokenizer,
) -> dict[str, NDArray]:
    """Numbers, truth and templates of the sentences about the k-th of two frames."""
    facts, clear, told = frames[k]
    count = len(clear)
    ids = np.zeros((data.sentences, LENGTH), np.int64)
    true = np.zeros((data.sentences, count), bool)
    template = np.full(data.sentences, -1)
    spoken = np.flatnonzero(clear)
    for number in range(data.sentences):
        if not len(spoken):
            ids[number, :1] = tokenizer.read("").ids
            continue
        row = int(rng.choice(spoken))
        claim = drawn_claim(rng, facts, row, told[row], data.free)
        if rng.random() < data.swapped:
            claim = swapped(rng, facts, claim)
        true[number] = facts.true_of(claim)
        if true[number, row] and frames[1 - k][1][row] and rng.random() < data.templates:
            template[number] = row
            alike = (facts.codes[:, :4] == facts.codes[row, :4]).all(1)  # twins look the same
            true[number] &= alike
        ids[number] = _numbers(rng, claim, bool(clip["hopping"][row]), data, tokenizer)
    return {"ids": ids, "true": true, "template": template}


def _numbers(
    rng: np.random.Generator, claim: Claim, hopping: bool, data: LanguageData, tokenizer: Tokenizer
) -> NDArray[np.int64]:
    reading = tokenizer.read(drawn_sentence(rng, claim, hopping, data.paraphrased), LENGTH - 1)
    ids = np.array(reading.ids)
    silent = np.array([False, *(word in ("the", "a", "is", "one", "object", "with", "and") for word in reading.words)])
    ids[silent & (rng.random(len(ids)) < data.dropped * 3)] = tokenizer.numbers["[unknown]"]
    return np.pad(ids, (0, LENGTH - len(ids)))


def mirrored(clip: dict[str, NDArray]) -> dict[str, NDArray]:
    """A clip left to right, with what is said of left and right."""
    width = clip["images"].shape[2]
    codes = clip["codes"].copy()
    left, right = DIRECTIONS.index("left"), DIRECTIONS.index("right")
    motion = clip["codes"][..., MOTION]
    codes[..., MOTION] = np.select([motion == left, motion == right], [right, left], motion)
    codes[..., SIDE] = len(SIDES) - 1 - clip["codes"][..., SIDE]

    def turned(boxes: NDArray) -> NDArray:
        exists = (boxes[..., 2:] > boxes[..., :2]).all(-1, keepdims=True)
        there = np.stack([width - boxes[..., 2], boxes[..., 1], width - boxes[..., 0], boxes[..., 3]], -1)
        return np.where(exists, there, 0).astype(boxes.dtype)

    return clip | {
        "images": clip["images"][:, :, ::-1],
        "instance": clip["instance"][:, :, ::-1],
        "visible_boxes": turned(clip["visible_boxes"]),
        "boxes": turned(clip["boxes"]),
        "codes": codes,
    }


def _colour_table(rng: np.random.Generator, strength: float) -> NDArray[np.uint8]:
    """Another exposure, contrast and tint, mild enough that colours keep their names."""
    gain, contrast, gamma = np.exp(rng.normal(0, strength, 3))
    tint = np.exp(rng.normal(0, strength / 2, 3))
    level = (np.arange(256) / 255) ** gamma
    table = ((level - 0.5) * contrast + 0.5)[:, None] * (gain * tint)
    return np.clip(table * 255 + 0.5, 0, 255).astype(np.uint8)[None]
