"""Figures of objects that were found: FG-ARI, mBO, box recall and CorLoc."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from scenegraph_track.data.masks import write_masks
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation import object_methods
from scenegraph_track.evaluation.estimators import Choice, load_estimators
from scenegraph_track.evaluation.jobs import Job
from scenegraph_track.evaluation.object_clips import (
    FrameTruth,
    ObjectClip,
    ObjectWorlds,
    Videos,
    still_objects,
    world_truth,
)
from scenegraph_track.evaluation.objects import (
    adjusted_rand_index,
    best_overlaps,
    boxes_found,
    foreground_ari,
    label_boxes,
    measure_objects,
    object_figures,
    overlap_table,
)
from scenegraph_track.evaluation.tally import Tally

FAST = load_estimators(Choice("dis_fast", "none"))


def table(truth: NDArray, predicted: NDArray) -> NDArray:
    return overlap_table(truth, predicted, (int(truth.max()) + 1, int(predicted.max()) + 1))


def test_rand_index_is_that_of_scikit_learn() -> None:
    # Also where there is one class, or nothing but single things; and the foreground alone.
    score = pytest.importorskip("sklearn.metrics").adjusted_rand_score
    rng = np.random.default_rng(0)
    for classes, segments in ((4, 6), (1, 1), (1, 3), (3, 1), (2, 2)):
        truth, found = rng.integers(0, classes, (8, 9)), rng.integers(0, segments, (8, 9))
        found = np.where(rng.random((8, 9)) < 0.7, truth % segments, found)
        assert adjusted_rand_index(table(truth, found)) == pytest.approx(score(truth.ravel(), found.ravel()))
        inside = truth > 0
        if classes > 2:
            assert foreground_ari(table(truth, found)) == pytest.approx(score(truth[inside], found[inside]))
    singles = np.arange(6)[None]
    assert adjusted_rand_index(table(singles, singles)) == score(singles[0], singles[0]) == 1
    assert np.isnan(adjusted_rand_index(np.zeros((2, 2))))


def test_foreground_ari_needs_two_objects() -> None:
    truth = np.array([[0, 1, 1, 0]])
    assert np.isnan(foreground_ari(table(truth, truth)))
    assert foreground_ari(table(np.array([[0, 1, 2]]), np.array([[5, 1, 2]]))) == 1  # the background does not count


def test_best_overlap_by_hand() -> None:
    # Object 1 is cut in two (2 of 3 pixels), object 2 is wholly within a larger segment (2 of 4), 3 is not seen.
    truth = np.array([[1, 1, 1, 2, 2, 0, 0, 4]])
    found = np.array([[1, 1, 2, 3, 3, 3, 3, 0]])
    np.testing.assert_allclose(best_overlaps(table(truth, found)), [2 / 3, 0.5, np.nan, 0])
    assert best_overlaps(table(truth, np.zeros_like(truth)))[0] == 0  # nothing is no segment


def test_pixels_that_are_not_judged() -> None:
    truth, found = np.array([[1, 1, -1, -1]]), np.array([[1, 1, 1, 1]])
    assert table(truth, found).sum() == 2 and best_overlaps(table(truth, found))[0] == 1


def test_boxes_of_labels() -> None:
    # Round the largest part of each segment; specks have none, gaps in the numbers do not matter.
    labels = np.zeros((20, 30), int)
    labels[2:8, 3:10], labels[15:17, 20:25], labels[10:15, 10:15], labels[0, 0] = 4, 4, 7, 9
    np.testing.assert_array_equal(label_boxes(labels), [[3, 2, 10, 8], [10, 10, 15, 15]])
    assert label_boxes(np.zeros((4, 4), int)).shape == (0, 4)


def test_boxes_are_found_one_to_one() -> None:
    # Two true boxes, one predicted: it counts for the one that it fits better.
    truth = np.array([[0.0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]])
    np.testing.assert_array_equal(boxes_found(truth, truth[1:2]), [False, True, False])
    np.testing.assert_array_equal(boxes_found(truth, truth[[1, 0]]), [True, True, False])
    np.testing.assert_array_equal(boxes_found(truth[:1], np.array([[0.0, 0, 10, 5]])), [True])  # one half exactly
    assert not boxes_found(truth, np.zeros((0, 4))).any() and boxes_found(truth[:0], truth).shape == (0,)


def moving_squares() -> ObjectClip:
    """Three frames of 40 x 60 pixels: object 1 moves to the right, object 2 stands still, object 3 is hardly seen."""
    truth = []
    for t in range(3):
        labels = np.zeros((40, 60), np.int32)
        labels[5:15, 5 + 5 * t : 15 + 5 * t], labels[25:35, 40:50], labels[0:2, 55:57] = 1, 2, 3
        boxes = np.array([[5.0 + 5 * t, 5, 15 + 5 * t, 15], [40, 25, 50, 35]])
        truth.append(FrameTruth((40, 60), np.array([1, 2]), boxes, labels))
    images = torch.zeros(3, 3, 40, 60, dtype=torch.uint8)
    return ObjectClip("squares", images, torch.eye(3), [], tuple(truth), {1: False, 2: True}, 5.0)


def labels_of(clip: ObjectClip) -> NDArray:
    return np.stack([one.labels for one in clip.truth])


def swapped(clip: ObjectClip) -> NDArray:
    """Right in each frame, but the two identities are swapped in the last one."""
    labels = labels_of(clip)
    labels[2] = np.array([0, 2, 1, 3])[labels[2]]
    return labels


def test_perfect_and_nothing() -> None:
    clip = moving_squares()
    methods = {"learned": labels_of, "nothing": lambda clip: np.zeros((3, 40, 60), int)}
    found = object_figures(measure_objects(clip, methods)[0])
    for figure in ("fg_ari_video", "fg_ari_frame", "mbo_video", "mbo_frame", "recall50", "corloc", "recall50_still"):
        assert found[figure] == 100
    assert found["boxes"] == 2 and found["precision50"] == 100 and found["ms"] >= 0 and found["ms_cues"] == 5
    for figure in ("fg_ari_video", "mbo_video", "mbo_video_still", "recall50", "corloc", "recall50_moving"):
        assert found[f"{figure}_best_baseline"] == found["methods"]["nothing"][figure] == 0


def test_identity_counts_in_the_video_only() -> None:
    found = object_figures(measure_objects(moving_squares(), {"swapped": swapped})[0])["methods"]["swapped"]
    assert found["fg_ari_frame"] == found["mbo_frame"] == found["recall50"] == 100
    # Object 1: two of three frames under its number, which has one square of the other; object 3 keeps its own.
    assert found["mbo_video"] == pytest.approx(100 * (200 / 400 + 200 / 400 + 1) / 3)
    assert found["mbo_video_moving"] == found["mbo_video_still"] == pytest.approx(50) and found["fg_ari_video"] < 60


def test_moving_and_still_apart() -> None:
    # A method that knows what moves only finds one half.
    def movers(clip: ObjectClip) -> NDArray:
        return np.where(labels_of(clip) == 1, 900, 0)

    found = object_figures(measure_objects(moving_squares(), {"movers": movers})[0])["methods"]["movers"]
    assert (found["recall50"], found["precision50"], found["corloc"]) == (50, 100, 100)
    assert (found["recall50_moving"], found["recall50_still"]) == (100, 0)
    assert (found["mbo_video_moving"], found["mbo_video_still"]) == (100, 0)


def test_best_baseline_of_each_figure() -> None:
    # Taken figure by figure, the learned one left out; sequences are put together.
    clip = moving_squares()
    methods = {"learned": labels_of, "still": lambda c: np.where(labels_of(c) == 2, 1, 0), "swapped": swapped}
    tally = Tally.join([measure_objects(clip, methods)[0], measure_objects(clip, methods)[0]])
    found = object_figures(tally)
    assert found["mbo_video_still_best_baseline"] == 100 and found["mbo_frame_best_baseline"] == 100
    assert found["recall50_still_best_baseline"] == 100 and list(found["methods"]) == list(methods)
    del methods["learned"]
    alone = object_figures(measure_objects(clip, methods)[0])
    assert "mbo_video" not in alone and alone["mbo_video_best_baseline"] == found["mbo_video_best_baseline"]


def test_labels_of_another_size() -> None:
    # Half the size: enlarged to the truth, with boxes in its pixels.
    clip = moving_squares()
    found = object_figures(measure_objects(clip, {"half": lambda c: labels_of(c)[:, ::2, ::2]})[0])["methods"]["half"]
    assert found["recall50"] == 100 and 75 < found["mbo_video_still"] < 100


def test_frames_without_truth_are_not_judged() -> None:
    clip = moving_squares()
    part = ObjectClip("part", clip.images, clip.intrinsics, [], (clip.truth[0], None, None), clip.still)
    found = object_figures(measure_objects(part, {"first": lambda c: np.stack([labels_of(clip)[0]] * 3)})[0])
    assert found["methods"]["first"]["mbo_video"] == 100 and found["methods"]["first"]["boxes"] == 2


def test_what_is_drawn() -> None:
    clip = moving_squares()
    shown = measure_objects(clip, {"swapped": swapped})[1]
    assert shown["image"].shape == (2, 40, 60, 3) and shown["truth"].shape == shown["swapped"].shape == (2, 40, 60)
    boxes = tuple(FrameTruth((80, 120), one.ids, 2 * one.boxes) for one in clip.truth)
    only = ObjectClip("boxes", clip.images, clip.intrinsics, [], boxes)
    tally, shown = measure_objects(only, {"half": lambda c: labels_of(clip)})
    np.testing.assert_allclose(shown["boxes"][0], [0, 1, 5, 5, 15, 15])  # in pixels of the image
    found = object_figures(tally)["methods"]["half"]
    assert found["recall50"] == 100 and np.isnan(found["mbo_video"]) and np.isnan(found["recall50_still"])


@pytest.mark.parametrize("labels", [np.zeros((2, 4, 4), int), np.zeros((3, 4, 4)), np.full((3, 4, 4), -1)])
def test_no_label_maps(labels: NDArray) -> None:
    with pytest.raises(UserError, match="odd: expected 3 maps of labels from 0, found"):
        measure_objects(moving_squares(), {"odd": lambda clip: labels})


def test_truth_of_a_world() -> None:
    # Static occluders are background; boxes are those of objects visible by half.
    world = render(sample_scene("standard", "test", seed=4, size=(64, 64), frames=4))
    frame, count = world.frames[1], len(world.scene.objects)
    truth = world_truth(frame, count)
    assert (frame.instance > count).any() and truth.labels.max() <= count
    np.testing.assert_array_equal(truth.labels == 0, (frame.instance == 0) | (frame.instance > count))
    assert 0 < len(truth.ids) < len(frame.ids) and (frame.visible_fraction[truth.ids - 1] >= 0.5).all()
    assert truth.labels.shape == truth.size == (64, 64)


def test_what_stands_still() -> None:
    # All of a static world, though its camera moves; of a standard one those that are at one place.
    static = render(sample_scene("static", "test", seed=0, size=(64, 64), frames=5))
    assert np.abs(static.frames[0].flow_forward).max() > 1 and all(still_objects(static, "a").values())
    world = render(sample_scene("standard", "test", seed=0, size=(64, 64), frames=5))
    still = still_objects(world, "b")
    assert still and not all(still.values())
    for thing in world.scene.objects:
        if (
            thing.attributes.motion == "still"
            and not np.ptp(thing.world_from_object, axis=0).any()
            and thing.bend is None
        ):
            assert still.get(thing.label, True)


def test_perfect_on_worlds() -> None:
    clip = ObjectWorlds(sequences=1, size=(48, 48), frames=4).object_clip(0, FAST)
    assert len(clip) == len(clip.cues) == 4 and clip.ms_cues > 0 and clip.name == "standard_test_0000"
    found = object_figures(measure_objects(clip, {"learned": labels_of})[0])
    assert found["fg_ari_video"] == found["mbo_video"] == found["mbo_frame"] == 100 and found["recall50"] > 50


def test_another_process_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    # A job that was sent to it gives the same figures and maps; k-means draws by a seed.
    monkeypatch.setattr(object_methods, "SHIPPED", Path("none"))
    job = Job(ObjectWorlds(sequences=2, size=(32, 32), frames=2), Choice("dis_fast", "none"), drawn=1)
    (name, tally, maps), (_, again, same) = job.objects(0), pickle.loads(pickle.dumps(job)).objects(0)
    assert name == "standard_test_0000" and list(tally.lists) == list(again.lists)
    for key, values in tally.lists.items():
        if not key.endswith(("ms", "ms_cues")):
            np.testing.assert_array_equal(np.hstack(values), np.hstack(again.lists[key]))
    np.testing.assert_array_equal(maps["kmeans"], same["kmeans"])
    assert job.objects(1)[2] == {}


def write_frames(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for k in range(count):
        Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).save(folder / f"{k:05d}.png")


def test_masks_of_a_video(tmp_path: Path) -> None:
    # Every other frame is annotated; 255 is not judged; long videos are cut into even parts.
    write_frames(tmp_path / "v" / "JPEGImages", 7)
    mask = np.zeros((40, 60), np.uint8)
    mask[5:15, 5:15], mask[20:30, 20:40] = 2, 255
    names = [f"{k:05d}" for k in range(0, 7, 2)]
    write_masks(tmp_path / "v" / "Annotations", [mask] * 4, names)
    source = Videos(tmp_path / "v", frames=5, longest=30)
    assert len(source) == 2 and str(source) == "videos v"
    first, second = source.object_clip(0, FAST), source.object_clip(1, FAST)
    assert [one is None for one in first.truth + second.truth] == [False, True] * 3 + [False]
    assert (first.name, second.name, len(first), len(second)) == ("v_00000", "v_00004", 4, 3)
    truth = first.truth[0]
    assert first.images.shape == (4, 3, 20, 30) and truth.size == (40, 60) and not first.still
    np.testing.assert_array_equal(truth.boxes, [[5, 5, 15, 15]])
    assert truth.ids.tolist() == [2] and (truth.labels == -1).sum() == 200
    write_masks(tmp_path / "v" / "Annotations", [mask[:20]] * 4, names, overwrite=True)
    with pytest.raises(
        UserError, match=r"00000\.png: expected a mask of the size of the images, 60 x 40, found 60 x 20"
    ):
        source.object_clip(0, FAST)


def test_boxes_of_a_video(tmp_path: Path) -> None:
    # MOTChallenge: rows that do not count and objects that are hidden are left out; boxes are cut at the image.
    write_frames(tmp_path / "m" / "img1", 3)
    (tmp_path / "m" / "gt").mkdir()
    rows = ["1,1,-5,2,15,10,1,1,1", "1,2,20,20,10,10,1,1,0.3", "1,3,20,20,10,10,0,7,1", "3,1,5,5,10,10,1,1,0.6"]
    (tmp_path / "m" / "gt" / "gt.txt").write_text("\n".join(rows))
    clip = Videos(tmp_path / "m").object_clip(0, FAST)
    assert [one.ids.tolist() for one in clip.truth] == [[1], [], [1]] and clip.truth[0].labels is None
    np.testing.assert_array_equal(clip.truth[0].boxes, [[0, 2, 10, 12]])
    assert clip.name == "m" and clip.intrinsics[0, 0] > 60


def test_videos_without_truth(tmp_path: Path) -> None:
    write_frames(tmp_path / "JPEGImages", 2)
    with pytest.raises(UserError, match="expected videos with images and truth"):
        len(Videos(tmp_path))


@pytest.mark.parametrize(
    ("part", "figure"), [("mot15_video/TUD-Campus", "recall50"), ("davis/car-shadow", "mbo_video")]
)
def test_real_videos(shared_data: Path, part: str, figure: str) -> None:
    # Three frames of each; k-means is there and below perfect, and the truth has its size.
    source = Videos(shared_data / part, frames=3)
    clip = source.object_clip(0, FAST)
    assert max(clip.images.shape[2:]) == 256 and clip.truth[0].size[1] > 256
    found = object_figures(measure_objects(clip, {"kmeans": object_methods.BASELINES["kmeans"]})[0])
    assert 0 <= found[f"{figure}_best_baseline"] < 100
