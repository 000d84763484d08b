from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from scenegraph_track.data.streams import PRESETS, SPLITS, Stream, simulate
from scenegraph_track.errors import UserError

ARRAYS = [f.name for f in dataclasses.fields(Stream) if f.name not in ("name", "frame_rate", "image_size", "frames")]


def as_bytes(stream: Stream) -> bytes:
    return b"".join(getattr(stream, name).tobytes() for name in ARRAYS)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("split", SPLITS)
def test_every_preset_and_split_gives_a_valid_stream(preset: str, split: str) -> None:
    stream = simulate(preset, seed=5, split=split, frames=60)
    assert stream.frames == 60
    assert 4 <= stream.frame_rate <= 66
    assert len(stream.truth_frame) > 30
    assert len(stream.det_frame) > 5
    assert stream.det_id.min() >= 0
    assert set(stream.det_id) - {0} <= set(stream.truth_id)  # owners are objects of the truth


@pytest.mark.parametrize("preset", ["mixed", "sports", "crowd"])
def test_same_seed_same_bytes(preset: str) -> None:
    assert as_bytes(simulate(preset, 11, frames=40)) == as_bytes(simulate(preset, 11, frames=40))


def test_seeds_and_splits_differ() -> None:
    streams = [simulate("street", seed, split, frames=40) for seed in (1, 2) for split in SPLITS]
    assert len({as_bytes(s) for s in streams}) == len(streams)
    assert len({s.name for s in streams}) == len(streams)


@pytest.mark.parametrize("preset", ["street", "sports", "long_occlusion"])
def test_each_id_is_one_object_and_appears_once_a_frame(preset: str) -> None:
    stream = simulate(preset, 3, frames=200)
    pairs = np.stack([stream.truth_frame, stream.truth_id], -1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    assert set(np.unique(stream.truth_id)) == set(range(1, stream.truth_id.max() + 1))
    centre = (stream.truth_boxes[:, :2] + stream.truth_boxes[:, 2:]) / 2
    size = np.maximum(*(stream.truth_boxes[:, 2:] - stream.truth_boxes[:, :2]).T)
    for identity in np.unique(stream.truth_id):  # no object jumps
        rows = np.flatnonzero(stream.truth_id == identity)
        rows = rows[:-1][np.diff(stream.truth_frame[rows]) == 1], rows[1:][np.diff(stream.truth_frame[rows]) == 1]
        step = np.abs(np.diff(centre[np.stack(rows)], axis=0)).max(initial=0)
        assert step < 0.2 * max(stream.image_size) + size.max() * 0.2


def test_frame_accessors_return_the_rows_of_a_frame() -> None:
    stream = simulate("crowd", 1, frames=30)
    for frame in (0, 17, 29):
        ids, boxes, visibility, depth = stream.truth(frame)
        rows = stream.truth_frame == frame
        assert np.array_equal(ids, stream.truth_id[rows])
        assert np.array_equal(boxes, stream.truth_boxes[rows])
        assert np.array_equal(visibility, stream.truth_visibility[rows])
        assert np.array_equal(depth, stream.truth_depth[rows])
        boxes, scores, owners = stream.detections(frame)
        rows = stream.det_frame == frame
        assert np.array_equal(boxes, stream.det_boxes[rows])
        assert np.array_equal(scores, stream.det_scores[rows])
        assert np.array_equal(owners, stream.det_id[rows])


def test_objects_and_frames_follow_the_arguments() -> None:
    few = np.mean([len(simulate("street", s, frames=100, objects=4).truth_frame) / 100 for s in range(6)])
    many = np.mean([len(simulate("street", s, frames=100, objects=30).truth_frame) / 100 for s in range(6)])
    assert few < 6 < 12 < many < 36


def test_a_missing_detection_is_likelier_under_cover() -> None:
    bins = [(0.9, 1.1), (0.5, 0.9), (0.2, 0.5), (0.0, 0.2)]
    rates = []
    for seed in range(20):
        s = simulate("mixed", seed, frames=100)
        found = set(zip(s.det_frame.tolist(), s.det_id.tolist(), strict=True))
        keys = zip(s.truth_frame.tolist(), s.truth_id.tolist(), strict=True)
        missed = np.array([key not in found for key in keys])
        inside = [(s.truth_visibility >= low) & (s.truth_visibility < high) for low, high in bins]
        if min(rows.sum() for rows in inside) > 10:
            rates.append([missed[rows].mean() for rows in inside])
    rates = np.mean(rates, axis=0)
    assert (np.diff(rates) > 0).all()
    assert rates[0] < 0.4
    assert rates[-1] > max(0.5, 2.5 * rates[0])


def test_a_standing_crowd_stands() -> None:
    speeds, walkers = [], []
    for preset, out in (("standing", speeds), ("crowd", walkers)):
        for seed in range(5):
            s = simulate(preset, seed, frames=100)
            order = np.lexsort((s.truth_frame, s.truth_id))
            box, identity, frame = s.truth_boxes[order], s.truth_id[order], s.truth_frame[order]
            lag = max(1, round(s.frame_rate))  # over a second, so that pose and annotation noise hardly count
            pair = (identity[lag:] == identity[:-lag]) & (frame[lag:] == frame[:-lag] + lag)
            foot = np.stack([(box[:, 0] + box[:, 2]) / 2, box[:, 3]], -1)
            height = box[lag:, 3] - box[lag:, 1]
            out.append(np.median((np.hypot(*(foot[lag:] - foot[:-lag]).T) / height)[pair]))
    assert np.median(speeds) < 0.06
    assert np.median(walkers) > 3 * np.median(speeds)


def test_long_occlusion_hides_objects_for_seconds() -> None:
    longest = []
    for seed in range(6):
        s = simulate("long_occlusion", seed)
        order = np.lexsort((s.truth_frame, s.truth_id))
        hidden, identity, frame = s.truth_visibility[order] < 0.1, s.truth_id[order], s.truth_frame[order]
        start = np.r_[True, (np.diff(hidden) != 0) | (np.diff(identity) != 0) | (np.diff(frame) != 1)]
        length = np.diff(np.r_[np.flatnonzero(start), len(hidden)])[hidden[start]]
        longest.append(length.max(initial=0) / s.frame_rate)
    assert np.median(longest) > 1


@pytest.mark.parametrize("seed", [341, 614])  # the detector of their first draw finds 0 and 17 boxes in 100 frames
def test_sequences_with_next_to_nothing_are_drawn_again(seed: int) -> None:
    stream = simulate("mixed", seed, "test", frames=100)
    assert stream.name == f"mixed-test-{seed:06d}"
    assert len(np.unique(stream.truth_frame)) >= 50
    assert (stream.det_id > 0).sum() >= 0.1 * len(stream.truth_frame)
    assert as_bytes(stream) == as_bytes(simulate("mixed", seed, "test", frames=100))


def test_the_test_split_draws_what_training_never_draws() -> None:
    training = {simulate("street", seed, "train", frames=2).frame_rate for seed in range(60)}
    held_out = {simulate("street", seed, "test", frames=2).frame_rate for seed in range(60)}
    assert held_out - training


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "moon"}, "preset: expected one of street"),
        ({"split": "dev"}, "split: expected one of train"),
        ({"seed": -1}, "seed: expected a non-negative integer"),
        ({"frames": 1}, "frames: expected at least 2"),
        ({"objects": 0}, "objects: expected at least 1"),
    ],
)
def test_bad_arguments_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        simulate(**arguments)
