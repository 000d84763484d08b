from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scenegraph_track.data import kitti, masks, mot, single
from scenegraph_track.data.sequences import Sequence, find_sequences, override_detections, with_detections
from scenegraph_track.errors import FormatError, UserError

ROW = "1,-1,0,0,4,4,1,-1,-1,-1\n3,-1,0,0,4,4,1,-1,-1,-1\n"


def images(folder: Path, names: list[str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.fromarray(np.zeros((48, 64, 3), np.uint8)).save(folder / name)
    return folder


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def mot_sequence(folder: Path) -> Path:
    text(folder / "det" / "det.txt", ROW)
    text(folder / "gt" / "gt.txt", "1,1,0,0,4,4,1,1,0.5\n")
    return folder


def test_a_motchallenge_sequence_and_a_split_of_them(tmp_path):
    for name in ("MOT17-10-FRCNN", "MOT17-2-FRCNN"):
        mot_sequence(tmp_path / name)
    text(
        tmp_path / "MOT17-2-FRCNN" / "seqinfo.ini", "[Sequence]\nframeRate=14\nseqLength=600\nimWidth=64\nimHeight=48\n"
    )
    (tmp_path / "notes").mkdir()  # a folder that is nothing is passed over
    two, ten = find_sequences(tmp_path)
    assert (two.name, two.kind, two.frame_rate, two.frame_rate_known) == ("MOT17-2-FRCNN", "mot", 14, True)
    assert (two.length, two.size, two.images) == (600, (64, 48), None)
    assert (ten.name, ten.frame_rate, ten.frame_rate_known, ten.length) == ("MOT17-10-FRCNN", 30, False, 3)
    assert find_sequences(str(tmp_path / "MOT17-2-FRCNN")) == [two]
    assert len(two.read_detections()) == 2
    assert isinstance(two.read_truth(), mot.TruthFile)


def test_the_current_folder_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(mot_sequence(tmp_path / "MOT20-01"))
    assert find_sequences(".")[0].name == "MOT20-01"


def test_image_folders_and_globs_are_sorted_naturally(tmp_path):
    folder = images(tmp_path / "walk", ["img10.png", "img2.png", "img1.png"])
    for source in (folder, tmp_path / "*" / "img*.png", str(folder / "*")):
        (found,) = find_sequences(source)
        assert (found.name, found.kind, found.length, found.size) == ("walk", "images", 3, (64, 48))
        assert [p.name for p in found.images] == ["img1.png", "img2.png", "img10.png"]
        assert not found.frame_rate_known
    assert find_sequences(folder / "img2.png")[0].images == (folder / "img2.png",)


def test_videos_and_webcams(tmp_path):
    for name in ("a.mp4", "a.avi", "b.MOV", "notes.txt"):
        (tmp_path / name).touch()
    assert [(s.name, s.video.name) for s in find_sequences(tmp_path)] == [
        ("a_avi", "a.avi"),
        ("a_mp4", "a.mp4"),  # unique although both are a
        ("b", "b.MOV"),
    ]
    (found,) = find_sequences(tmp_path / "a.mp4")
    assert (found.name, found.kind, found.video, found.length) == ("a", "video", tmp_path / "a.mp4", None)
    assert len(find_sequences(tmp_path / "*.[am][pv][4i]")) == 2
    (webcam,) = find_sequences("0")
    assert (webcam.name, webcam.kind, webcam.video) == ("webcam0", "webcam", 0)


def test_names_are_unique_whatever_happens(tmp_path):
    for name in ("x/seq", "y/seq", "z/seq_x"):
        images(tmp_path / name, ["1.png"])
    # the first two get their folder's name behind theirs, and one of them is then as the third
    names = [s.name for s in find_sequences(tmp_path / "*" / "seq*")]
    assert names == ["seq_x", "seq_x_2", "seq_y"]
    for name in ("x", "y", "z"):
        mot_sequence(tmp_path / "deep" / name / "seq")
    assert [s.name for s in find_sequences(tmp_path / "deep" / "*" / "*")] == ["seq_x", "seq_y", "seq_z"]


def test_kitti(tmp_path):
    label = "{} 0 Car 0 0 -10 0 0 9 9 -1 -1 -1 -1000 -1000 -1000 -10\n"
    images(tmp_path / "training" / "image_02" / "0001", [f"{k:06d}.png" for k in (0, 1, 3)])  # the third is missing
    text(tmp_path / "training" / "label_02" / "0001.txt", label.format(0) + label.format(3))
    text(tmp_path / "training" / "label_02" / "0002.txt", label.format(6))
    text(tmp_path / "training" / "det_02" / "0002.txt", label.format(6))
    first, second = find_sequences(tmp_path)
    assert (first.name, first.kind, first.frame_rate, first.frame_rate_known) == ("0001", "kitti", 10, True)
    assert [p.stem for p in first.images] == ["000000", "000001", "000001", "000003"]  # frame k stays image k
    assert (first.length, first.size) == (4, (64, 48))
    assert (second.length, second.images) == (7, None)
    assert isinstance(second.read_truth(), kitti.KittiLabels)
    assert len(second.read_detections().frame(6)) == 1
    assert find_sequences(tmp_path / "training") == [first, second]


def test_davis_and_youtube_roots(tmp_path):
    for name in ("bear", "cat"):
        images(tmp_path / "davis" / "JPEGImages" / "480p" / name, ["00000.jpg", "00001.jpg"])
    masks.write_masks(tmp_path / "davis" / "Annotations" / "480p" / "bear", [np.ones((48, 64), np.uint8)] * 2)
    bear, cat = find_sequences(tmp_path / "davis")
    assert (bear.name, bear.kind, bear.length, bear.size) == ("bear", "masks", 2, (64, 48))
    assert (len(bear.read_truth()), cat.truth) == (2, None)
    images(tmp_path / "youtube" / "JPEGImages" / "0a1", ["00000.jpg"])
    assert [s.name for s in find_sequences(tmp_path / "youtube")] == ["0a1"]
    masks.write_masks(tmp_path / "only" / "Annotations" / "480p" / "bear", [np.ones((48, 64), np.uint8)] * 2)
    (only,) = find_sequences(tmp_path / "only")
    assert (only.name, only.length, only.images) == ("bear", 2, None)


def test_single_object_sequences(tmp_path):
    images(tmp_path / "lasot" / "cat-1" / "img", ["00000001.jpg", "00000002.jpg"])
    text(tmp_path / "lasot" / "cat-1" / "groundtruth.txt", "1,2,3,4\n1,2,3,4\n")
    (cat,) = find_sequences(tmp_path / "lasot")
    assert (cat.name, cat.kind, cat.length, cat.size) == ("cat-1", "single", 2, (64, 48))
    assert isinstance(cat.read_truth(), single.SingleTrack)
    images(tmp_path / "TRAIN_0" / "frames" / "v_0", ["0.jpg", "1.jpg"])
    text(tmp_path / "TRAIN_0" / "anno" / "v_0.txt", "1,2,3,4\n1,2,3,4\n")
    assert [s.name for s in find_sequences(tmp_path / "TRAIN_0")] == ["v_0"]
    images(tmp_path / "UAV123" / "data_seq" / "UAV123" / "bird1", [f"{k:06d}.jpg" for k in range(1, 4)])
    text(tmp_path / "UAV123" / "anno" / "UAV123" / "bird1_1.txt", "1,2,3,4\nNaN,NaN,NaN,NaN\n")
    (bird,) = find_sequences(tmp_path / "UAV123")
    assert (bird.name, bird.length) == ("bird1_1", 2)
    assert bird.read_truth().absent.tolist() == [False, True]


def test_what_is_no_sequence_is_a_user_error(tmp_path):
    text(tmp_path / "notes.txt", "x")
    for source in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="is neither a video or image file, nor a folder of images"):
            find_sequences(source)
    with pytest.raises(UserError, match="no such file or folder"):
        find_sequences(tmp_path / "none")
    with pytest.raises(UserError, match="no image, video or sequence folder matches"):
        find_sequences(tmp_path / "*.jpg")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "1.png").write_text("no image")
    with pytest.raises(UserError, match=r"1\.png: expected an image"):
        find_sequences(tmp_path / "broken")
    images(tmp_path / "broken", ["2.png"])  # one that can be read is enough
    assert find_sequences(tmp_path / "broken")[0].size == (64, 48)
    text(tmp_path / "s" / "seqinfo.ini", "junk")
    with pytest.raises(FormatError, match=r"seqinfo\.ini:1"):
        find_sequences(tmp_path / "s")


def test_what_a_sequence_lacks_is_a_user_error(tmp_path):
    sequence = Sequence("a", "images", tmp_path)
    with pytest.raises(UserError, match="there are no detections"):
        sequence.read_detections()
    with pytest.raises(UserError, match="there is no ground truth"):
        sequence.read_truth()


def test_other_detections_from_a_file_or_a_folder(tmp_path):
    a, b = (Sequence(name, "mot", tmp_path) for name in "ab")
    flat = text(tmp_path / "d" / "a.txt", ROW)
    deep = text(tmp_path / "d" / "b" / "det" / "det.txt", ROW)
    assert with_detections(a, flat).detections == flat
    assert [s.detections for s in override_detections([a, b], tmp_path / "d")] == [flat, deep]
    assert len(override_detections([b], deep)[0].read_detections()) == 2
    with pytest.raises(UserError, match=r"expected a folder with <name>\.txt or <name>/det/det\.txt for 2 sequences"):
        override_detections([a, b], flat)
    with pytest.raises(UserError, match=r"expected c\.txt or c/det/det\.txt in this folder"):
        with_detections(Sequence("c", "mot", tmp_path), tmp_path / "d")
    with pytest.raises(UserError, match="no such file or folder of detections"):
        with_detections(a, tmp_path / "none")


@pytest.mark.parametrize(
    ("source", "count", "kind"),
    [
        ("mot15_frcnn", 11, "mot"),
        ("mot20_01", 1, "mot"),
        ("mot15_video", 1, "mot"),
        ("mot15_video/TUD-Campus", 1, "mot"),
        ("sportsmot_noisy", 11, "mot"),
        ("otb", 1, "single"),
        ("otb/Crossing", 1, "single"),
        ("davis", 1, "masks"),
        ("davis/car-shadow", 1, "masks"),
        ("rgbd/seven_scenes_60/rgb", 1, "images"),
    ],
)
def test_every_real_set_is_found_and_read(shared_data, source, count, kind):
    found = find_sequences(shared_data / source)
    assert len(found) == count
    for sequence in found:
        assert sequence.kind == kind
        assert sequence.length > 0
        assert sequence.size is not None
        if sequence.images is not None:
            assert len(sequence.images) == sequence.length
        if kind == "mot":
            assert sequence.frame_rate_known
            assert sequence.read_detections().length <= sequence.length
        if sequence.truth is not None:
            assert sequence.read_truth() is not None
