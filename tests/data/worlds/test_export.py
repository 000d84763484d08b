"""Worlds as files, read back by the readers of the field's formats."""

from __future__ import annotations

import json

import av
import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from scenegraph_track.data.mot import read_truth
from scenegraph_track.data.seqinfo import read_seqinfo
from scenegraph_track.data.worlds import render, sample_scene
from scenegraph_track.data.worlds.export import depth_image, pack_masks, synthesise, unpack_masks, write_world
from scenegraph_track.errors import UserError


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    clip = render(sample_scene("standard", "train", 2, (97, 64), 4, 12.5))
    return clip, write_world(clip, tmp_path_factory.mktemp("worlds") / "one")


def test_the_layout_is_complete(written):
    _, folder = written
    names = {path.name for path in folder.iterdir()}
    folders, files = {"img1", "gt", "det", "masks", "amodal", "depth"}, {"seqinfo.ini", "poses.txt", "intrinsics.txt"}
    assert names == folders | files | {"captions.json", "preview.mp4"}
    for name in ("img1", "masks", "amodal", "depth"):
        assert [path.stem for path in sorted((folder / name).iterdir())] == ["000001", "000002", "000003", "000004"]


def test_ground_truth_and_sequence_information_are_read_by_the_readers(written):
    clip, folder = written
    info = read_seqinfo(folder)
    assert (info.frame_rate, info.length, info.size) == (12.5, 4, (97, 64))
    truth = read_truth(folder / "gt" / "gt.txt")
    assert truth.labelled and truth.considered.all()
    frame = clip.frames[1]
    rows = truth.tracks.frames.numpy() == 1
    shown = frame.amodal_masks.any((1, 2))
    np.testing.assert_array_equal(truth.tracks.ids.numpy()[rows], frame.ids[shown])
    np.testing.assert_allclose(truth.tracks.boxes.numpy()[rows], frame.amodal_boxes[shown], atol=0.02)
    np.testing.assert_allclose(truth.tracks.visibility.numpy()[rows], frame.visible_fraction[shown], atol=1e-4)


def test_masks_and_depth_are_exact_sixteen_bit_images(written):
    clip, folder = written
    frame = clip.frames[2]
    ids = cv2.imread(str(folder / "masks" / "000003.png"), cv2.IMREAD_UNCHANGED)
    assert ids.dtype == np.uint16
    np.testing.assert_array_equal(ids, frame.instance)
    depth = cv2.imread(str(folder / "depth" / "000003.png"), cv2.IMREAD_UNCHANGED)
    near = frame.depth < 65
    np.testing.assert_allclose(depth[near] / 1000, frame.depth[near], atol=0.00051)
    assert not depth[frame.depth > 65.536].any()
    packed = cv2.imread(str(folder / "amodal" / "000003.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(unpack_masks(packed, len(frame.ids)), frame.amodal_masks)


def test_poses_are_tum_rows_camera_to_world(written):
    clip, folder = written
    rows = np.loadtxt(folder / "poses.txt")
    assert rows.shape == (4, 8)
    for row, frame in zip(rows, clip.frames):
        assert row[0] == pytest.approx(frame.timestamp)
        np.testing.assert_allclose(row[1:4], frame.world_from_camera[:3, 3], atol=1e-6)
        np.testing.assert_allclose(Rotation.from_quat(row[4:]).as_matrix(), frame.world_from_camera[:3, :3], atol=1e-6)
    np.testing.assert_allclose(np.loadtxt(folder / "intrinsics.txt"), clip.scene.camera.intrinsics, rtol=1e-6)


def test_captions_hold_the_visible_objects_of_every_frame(written):
    clip, folder = written
    content = json.loads((folder / "captions.json").read_text())
    assert len(content["objects"]) == len(clip.scene.objects) and len(content["frames"]) == 4
    frame, spoken = clip.frames[0], content["frames"][0]
    assert [o["id"] for o in spoken["objects"]] == frame.ids[frame.visible_fraction > 0].tolist()
    assert spoken["objects"][0]["sentence"] == frame.sentences[spoken["objects"][0]["id"] - 1]
    assert len(spoken["relations"]) == frame.relations.sum()


def test_the_preview_is_a_video_of_all_frames(written):
    _, folder = written
    with av.open(str(folder / "preview.mp4")) as container:
        stream = container.streams.video[0]
        frames = sum(1 for _ in container.decode(stream))
        assert (stream.width, stream.height, stream.pix_fmt, frames) == (194, 128, "yuv420p", 4)


def test_more_objects_than_one_plane_of_bits_survive():
    masks = np.random.default_rng(0).random((37, 5, 6)) < 0.3
    np.testing.assert_array_equal(unpack_masks(pack_masks(masks), 37), masks)


def test_depth_out_of_range_is_none():
    np.testing.assert_array_equal(depth_image(np.array([1.2344, 65.535, 65.6, 200], np.float32)), [1234, 65535, 0, 0])


def test_synthesise_writes_reproducible_sequences_and_refuses_to_overwrite(tmp_path):
    draw = {"preset": "easy", "seed": 3, "sequences": 2, "frames": 2, "size": (48, 32)}
    first = synthesise(tmp_path / "a", **draw)
    second = synthesise(tmp_path / "b", **draw)
    assert [path.name for path in first] == ["easy-train-3-0000", "easy-train-3-0001"]
    for one, other in zip(first, second):
        files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
        assert all((one / name).read_bytes() == (other / name).read_bytes() for name in files)
    with pytest.raises(UserError, match="the sequence exists"):
        synthesise(tmp_path / "a", **draw)
    assert synthesise(tmp_path / "a", **draw, overwrite=True) == first


def test_nothing_is_left_where_writing_fails(tmp_path):
    with pytest.raises(UserError, match="sequences: expected"):
        synthesise(tmp_path, sequences=0)
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UserError):
        write_world(sample_scene("easy", "train", 0, (48, 32), 2), tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
