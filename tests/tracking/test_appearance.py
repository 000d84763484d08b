"""What tracks look like, and identities that come back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from scenegraph_track.config import load_config
from scenegraph_track.structures import TrackerState
from scenegraph_track.tracking.appearance import likeness, recalled
from scenegraph_track.tracking.reference import associate, start_state
from scenegraph_track.tracking.situation import prepare

SETTINGS = load_config("reference").tracker
LOOKS = np.eye(6)


def box(x: float) -> list[float]:
    return [x, 100.0, x + 40, 200.0]


def after(
    state: TrackerState, times: np.ndarray, places: dict[int, float], looks: np.ndarray = LOOKS
) -> tuple[TrackerState, dict[int, int]]:
    """Goes on with still objects; also the identity that each has in the end."""
    found = np.array([box(x) for x in places.values()]).reshape(-1, 4)
    seen = looks[list(places)]
    identities: dict[int, int] = {}
    for t in times:
        state, decided = associate(prepare(state, SETTINGS, t, found, np.ones(len(found)), embeddings=seen))
        rows = np.flatnonzero(decided.detection >= 0)
        names = list(places)
        identities = {names[decided.detection[r]]: int(decided.tracks.ids[r]) for r in rows}
    return state, identities


def test_an_object_that_left_gets_its_identity_back() -> None:
    state, first = after(start_state(), np.arange(10) / 10, {0: 100, 1: 400, 2: 700, 3: 1000})
    state, _ = after(state, 1 + np.arange(50) / 10, {1: 400, 2: 700, 3: 1000})
    assert state.left.ids.tolist() == [first[0]] and first[0] not in state.tracks.ids
    state, last = after(state, 6 + np.arange(5) / 10, {0: 250, 1: 400, 2: 700, 3: 1000})
    assert last == first and len(state.left) == 0 and state.next_id == 5


def test_a_newcomer_gets_an_identity_of_its_own() -> None:
    state, _ = after(start_state(), np.arange(10) / 10, {0: 100, 1: 400, 2: 700, 3: 1000})
    state, _ = after(state, 1 + np.arange(50) / 10, {1: 400, 2: 700, 3: 1000})
    state, last = after(state, 6 + np.arange(5) / 10, {4: 250, 1: 400, 2: 700, 3: 1000})
    assert last[4] == 5 and len(state.left) == 1


def test_a_live_identity_is_never_stolen() -> None:
    twins = LOOKS.copy()
    twins[4] = twins[1]  # looks as one that is still there
    state, first = after(start_state(), np.arange(10) / 10, {0: 100, 1: 400, 2: 700, 3: 1000}, twins)
    state, last = after(state, 1 + np.arange(5) / 10, {0: 100, 1: 400, 2: 700, 3: 1000, 4: 1400}, twins)
    assert last == first | {4: 5}


def test_objects_that_all_look_alike_are_not_known_again() -> None:
    alike = np.ones(6) + 0.3 * LOOKS
    state, _ = after(start_state(), np.arange(10) / 10, {0: 100, 1: 400, 2: 700, 3: 1000}, alike)
    state, _ = after(state, 1 + np.arange(50) / 10, {1: 400, 2: 700, 3: 1000}, alike)
    _, last = after(state, 6 + np.arange(5) / 10, {4: 150, 1: 400, 2: 700, 3: 1000}, alike)
    assert last[4] == 5


def test_two_are_enough_to_tell_how_alike_different_objects_are() -> None:
    alike = np.ones(6) + 0.3 * LOOKS
    state, _ = after(start_state(), np.arange(10) / 10, {0: 100, 1: 400}, alike)
    state, _ = after(state, 1 + np.arange(50) / 10, {1: 400}, alike)
    _, last = after(state, 6 + np.arange(5) / 10, {4: 150, 1: 400}, alike)
    assert last[4] == 3


@pytest.mark.parametrize(("change", "why"), [({"seen": np.array([5.95])}, "too far"), ({"classes": np.array([7])}, "")])
def test_only_what_is_near_enough_and_of_the_same_class_is_asked(change: dict[str, np.ndarray], why: str) -> None:
    state, first = after(start_state(), np.arange(10) / 10, {0: 100, 1: 1200})
    state, _ = after(state, 1 + np.arange(50) / 10, {1: 1200})
    live, _ = after(state, 6 + np.arange(2) / 10, {0: 500, 1: 1200})
    rows = np.flatnonzero(live.tracks.ids == 1)
    live = replace(live, tracks=replace(live.tracks, ids=np.where(live.tracks.ids == 1, 0, live.tracks.ids)))
    assert first[0] == 1 and recalled(state.left, live.tracks, rows, 6.1, SETTINGS.life).tolist() == [0]
    assert recalled(replace(state.left, **change), live.tracks, rows, 6.1, SETTINGS.life).tolist() == [-1]


def test_memory_ends() -> None:
    state, _ = after(start_state(), np.arange(10) / 10, {0: 100, 1: 400})
    state, _ = after(state, 1 + np.arange(50) / 10, {1: 400})
    assert len(state.left) == 1
    state, _ = after(state, np.array([40.0]), {1: 400})
    assert len(state.left) == 0


def test_likeness_is_the_cosine_and_unknown_without_appearance() -> None:
    state, _ = after(start_state(), np.arange(3) / 10, {0: 100, 1: 400})
    ends = np.array([0, 1]), np.array([0, 0])
    given = np.array([[2.0, 2, 0, 0, 0, 0]])
    np.testing.assert_allclose(likeness(state.tracks, given, *ends), [2**-0.5, 2**-0.5])
    assert np.isnan(likeness(state.tracks, None, *ends)).all()
    assert np.isnan(likeness(state.tracks, np.ones((1, 3)), *ends)).all()
