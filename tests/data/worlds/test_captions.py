"""Sentences say what is true, and identify their object where they claim to."""

from __future__ import annotations

import numpy as np

from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.captions import SIDES, sentence


def truths(clip, frame, i):
    """The attributes of an object in a frame, worked out from the scene and the masks."""
    scene, words = clip.scene, clip.scene.objects[i].attributes
    out = {"colour": words.colour, "pattern": words.pattern, "shape": words.shape, "size": words.size}
    seen = np.nonzero(frame.instance == i + 1)[1]
    middle = (seen.min() + seen.max() + 1) / 2
    out["side"] = SIDES[min(2, int(3 * middle / scene.size[0]))]
    places = scene.objects[i].world_from_object[:, :3, 3]
    velocity = np.gradient(places, 1 / scene.frame_rate, axis=0)[frame.index] * [1, 0, 1]
    right, _, ahead = frame.world_from_camera[:3, :3].T @ velocity
    moving = (
        ("left" if right < 0 else "right")
        if abs(right) >= abs(ahead)
        else ("towards the camera" if ahead < 0 else "away")
    )
    out["motion"] = moving if np.hypot(velocity[0], velocity[2]) >= 0.12 else "still"
    shares = np.concatenate([frame.occluded_by[i], frame.occluded_by_static[i]])
    names = [f"the {t.attributes.colour} {t.attributes.shape}" for t in scene.objects]
    names += [f"the {t.attributes.shape}" for t in scene.occluders]
    out["behind"] = names[shares.argmax()] if shares.max() > 0.05 else ""
    return out


def test_sentences_are_true_and_identify_when_they_claim_to(clips):
    claimed = unclaimed = 0
    for clip in clips:
        for frame in clip.frames:
            visible = np.flatnonzero(frame.visible_fraction > 0)
            facts = {i: truths(clip, frame, i) for i in visible}
            for i in visible:
                caption = frame.captions[i]
                assert all(facts[i][name] == value for name, value in caption.said.items()), caption
                fitting = [j for j in visible if all(facts[j][n] == v for n, v in caption.said.items())]
                assert not caption.identifies or fitting == [i]
                claimed += caption.identifies
                unclaimed += not caption.identifies
    print(f"sentences that identify: {claimed} of {claimed + unclaimed}")
    assert claimed > 0.8 * (claimed + unclaimed)


def test_hidden_objects_are_not_identified(clips):
    for clip in clips:
        for frame in clip.frames:
            assert not frame.sentence_identifies[frame.visible_fraction == 0].any()


def test_in_a_crowd_of_look_alikes_some_sentences_are_marked_as_not_identifying():
    clip = render(sample_scene("crowded", "train", 1, (96, 72), 3, 10.0))
    frame = clip.frames[1]
    visible = np.flatnonzero(frame.visible_fraction > 0)
    facts = {i: truths(clip, frame, i) for i in visible}
    same = [i for i in visible if any(facts[j] == facts[i] for j in visible if j != i)]
    print(f"{len(visible)} visible, {len(same)} cannot be told apart by words")
    assert same and not frame.sentence_identifies[same].any()
    for i in visible[frame.sentence_identifies[visible]]:
        said = frame.captions[i].said.items()
        assert [j for j in visible if all(facts[j][n] == v for n, v in said)] == [i]


def test_english():
    said = {"colour": "green", "pattern": "striped", "shape": "disk", "behind": "the pillar", "motion": "left"}
    assert sentence(said) == "the green striped disk behind the pillar, moving left"
    assert sentence({"size": "small", "shape": "ball", "motion": "right"}, "hopping") == "the small ball, hopping right"
    assert sentence({"shape": "car", "side": "on the left", "motion": "still"}) == "the car on the left, standing still"
