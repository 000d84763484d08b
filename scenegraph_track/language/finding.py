"""Tracks of a scene graph that a sentence means, by their looks, their motion and the relations of the graph."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.errors import UserError
from scenegraph_track.language.questions import Question, question
from scenegraph_track.language.vocabulary import ASPECTS
from scenegraph_track.structures import RELATIONS, ObjectState, SceneGraph

STILL = 0.15
"""Heights of the object a second below which it stands still."""

_UNKNOWN = 0.5
"""What counts where nothing is known."""


@dataclass(frozen=True, eq=False)
class SceneWords:
    """What is known of the tracks of a video besides the scene graph: how they look and how they move.

    It is a state like that of the tracker: `watching.watched` gives the next one.

    Args:
        looks: Probabilities of the answers of `vocabulary.ASPECTS`, by identity.
        boxes: Where tracks were last seen, with the time in seconds, by identity.
        motions: Speed in heights a second to the right and down, and growth of the logarithm of the height a second.
        width: Of the images, pixels; 0 before the first.
    """

    looks: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    boxes: dict[int, tuple[float, NDArray[np.float64]]] = field(default_factory=dict)
    motions: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    width: int = 0


@dataclass(frozen=True)
class FoundTrack:
    """A track and how well a sentence fits it.

    Args:
        track_id: Its identity.
        score: In [0, 1].
        box: xyxy pixels, predicted where it is hidden.
        state: Visible, hidden or left.
    """

    track_id: int
    score: float
    box: tuple[float, float, float, float]
    state: ObjectState


def find(scene: SceneGraph, text: str, known: SceneWords | None = None) -> list[FoundTrack]:
    """See `SceneGraph.find`."""
    asked, reading = question(text)
    if not asked.told:
        unknown = f" (unknown words: {', '.join(reading.unknown)})" if reading.unknown else ""
        raise UserError(f"find: {text!r} says nothing of looks, motion, place or relations{unknown}")
    scores = _fits(scene, asked, known or SceneWords())
    states = scene.states.tolist()
    found = [
        FoundTrack(one, float(score), tuple(box), ObjectState(state))
        for one, score, box, state in zip(scene.track_ids.tolist(), scores, scene.boxes.tolist(), states)
    ]
    return sorted(found, key=lambda track: -track.score)


def _fits(scene: SceneGraph, asked: Question, known: SceneWords) -> NDArray[np.float64]:
    """(N,) how well each track fits."""
    ids = scene.track_ids.tolist()
    scores = np.array([_looks(asked, known.looks.get(one)) * _moves(asked, known.motions.get(one)) for one in ids])
    if asked.side and known.width:
        middle = scene.boxes.double().numpy()[:, [0, 2]].mean(1) / known.width * 3
        scores *= np.where(np.clip(middle.astype(int), 0, 2) == ("left", "middle", "right").index(asked.side), 1.0, 0.1)
    if asked.hidden:
        scores *= np.where((scene.states == int(ObjectState.HIDDEN)).numpy(), 1.0, _covered(scene))
    if asked.relation and asked.other is not None:
        scores *= _related(scene, asked.relation, asked.other, known)
    return scores


def _looks(asked: Question, looks: NDArray[np.float64] | None) -> float:
    """Product of the probabilities of the words, each over that of the likeliest answer."""
    if looks is None:
        return _UNKNOWN if asked.looks else 1.0
    score, start = 1.0, 0
    for name, answers in ASPECTS.items():
        part = looks[start : start + len(answers)]
        if name in asked.looks:
            score *= float(part[answers.index(asked.looks[name])] / max(part.max(), 1e-9))
        start += len(answers)
    return score


def _moves(asked: Question, motion: NDArray[np.float64] | None) -> float:
    if not asked.motion:
        return 1.0
    if motion is None:
        return _UNKNOWN
    speed = float(np.hypot(motion[0], motion[1]))
    moving = 1 / (1 + np.exp(-(speed + abs(motion[2]) - STILL) / 0.05))
    along = {"left": -motion[0], "right": motion[0], "towards": motion[2], "away": -motion[2]}
    if asked.motion in ("still", "moving"):
        return float(moving if asked.motion == "moving" else 1 - moving)
    return float(moving / (1 + np.exp(-along[asked.motion] / 0.1)))


def _related(scene: SceneGraph, relation: str, other: Question, known: SceneWords) -> NDArray[np.float64]:
    """(N,) how well each track stands so to another one that fits."""
    count = len(scene)
    table = np.zeros((count, count))
    edges, values = scene.relates_index.numpy(), scene.relations.double().numpy()
    names = {
        "behind": ("occludes", True),
        "in front of": ("in_front_of", False),
        "left of": ("left_of", False),
        "right of": ("left_of", True),
        "above": ("above", False),
        "below": ("above", True),
        "near": ("near", False),
        "inside": ("contains", True),
    }
    column, turned = names[relation]
    table[edges[0], edges[1]] = values[:, RELATIONS.index(column)]
    table = table.T if turned else table
    if relation == "behind":
        hider = scene.hidden_by.numpy()[:, None] == scene.track_ids.numpy()[None]
        table = np.maximum(table, hider)
    fits = np.zeros(count) if other.static else _fits(scene, other, known)
    found = (table * fits[None]).max(1, initial=0.0)
    if relation == "behind" and (other.static or fits.max(initial=0.0) < 0.1):
        away = (scene.states == int(ObjectState.HIDDEN)).numpy() & (scene.hidden_by.numpy() == 0)
        found = np.where(away, 1.0, _covered(scene))  # what hides it is no object that is tracked
    return found


def _covered(scene: SceneGraph) -> NDArray[np.float64]:
    """(N,) hidden part of what is seen, at most a half."""
    return np.clip(1 - np.nan_to_num(scene.visibility.double().numpy(), nan=1.0), 0, 0.5)
