"""What sentences ask."""

from __future__ import annotations

import pytest

from scenegraph_track.language.questions import question


def test_looks_place_and_motion() -> None:
    asked = question("the small green striped disk on the left, moving towards the camera")[0]
    assert asked.looks == {"size": "small", "colour": "green", "pattern": "striped", "shape": "disk"}
    assert (asked.side, asked.motion, asked.relation) == ("left", "towards", "")


@pytest.mark.parametrize(
    ("text", "relation", "other"),
    [
        ("the disk hidden by the wall", "behind", {}),
        ("the disk behind the red box", "behind", {"colour": "red", "shape": "box"}),
        ("the car in front of the tree", "in front of", {"shape": "tree"}),
        ("the ball to the left of the star", "left of", {"shape": "star"}),
        ("the ball right of the star", "right of", {"shape": "star"}),
        ("the cross next to the ring", "near", {"shape": "ring"}),
        ("the star under the cross", "below", {"shape": "cross"}),
        ("the ring that is above the cross", "above", {"shape": "cross"}),
        ("the ring inside the box", "inside", {"shape": "box"}),
    ],
)
def test_relations(text: str, relation: str, other: dict[str, str]) -> None:
    asked = question(text)[0]
    assert asked.relation == relation
    assert asked.other is not None and asked.other.looks == other
    assert len(asked.looks) == 1


def test_a_wall_is_no_object_that_is_tracked() -> None:
    asked = question("the disk hidden by the wall")[0]
    assert asked.other is not None and asked.other.static and not asked.static


def test_the_side_of_the_image_is_no_relation() -> None:
    asked = question("the disk on the left of the image")[0]
    assert (asked.relation, asked.side) == ("", "left")


def test_standing_still_and_not_moving() -> None:
    assert question("the red disk standing still")[0].motion == "still"
    assert question("the red disk that is not moving")[0].motion == "still"
    assert question("the red disk that moves")[0].motion == "moving"


def test_what_says_nothing() -> None:
    asked, reading = question("the zeppelin")
    assert not asked.told and reading.unknown == ("zeppelin",)
