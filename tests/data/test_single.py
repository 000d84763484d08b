import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scenegraph_track.data.single import find_annotations, read_single, write_boxes
from scenegraph_track.errors import FormatError, UserError

THREE = "1,2,3,4\n2,2,3,4\n3,2,3,4\n"
BOXES = np.array([[1, 2, 4, 6], [2, 2, 5, 6], [3, 2, 6, 6]], dtype=float)


def make(root: Path, files: dict[str, str], images: str = "", count: int = 3, first: int = 1) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    for number in range(first, first + count) if images else ():
        path = root / images.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def test_otb_counts_pixels_from_one(tmp_path):
    folder = make(tmp_path / "Crossing", {"groundtruth_rect.txt": "205\t151\t17\t50\n"}, "img/{:04d}.jpg", 1)
    track = read_single(folder)
    assert (track.name, track.layout, track.origin) == ("Crossing", "otb", 1)
    np.testing.assert_array_equal(track.boxes, [[204, 150, 221, 200]])
    write_boxes(tmp_path / "back.txt", track.boxes, "\t", track.origin)
    assert (tmp_path / "back.txt").read_text() == "205.000\t151.000\t17.000\t50.000\n"


def test_otb_starts_where_its_list_says(tmp_path):
    # David's first box belongs to image 300; Diving has more images than boxes
    david = make(tmp_path / "David", {"groundtruth_rect.txt": THREE}, "img/{:04d}.jpg", 310)
    assert [p.name for p in read_single(david).images] == ["0300.jpg", "0301.jpg", "0302.jpg"]
    diving = make(tmp_path / "Diving", {"groundtruth_rect.txt": THREE}, "img/{:04d}.jpg", 9)
    assert [p.name for p in read_single(diving).images] == ["0001.jpg", "0002.jpg", "0003.jpg"]


def test_otb_may_have_two_targets(tmp_path):
    folder = make(
        tmp_path / "Jogging", {f"groundtruth_rect.{k}.txt": f"{k},1,2,2\n" for k in (1, 2)}, "img/{:04d}.jpg", 1
    )
    assert [a.name for a in find_annotations(folder)] == ["Jogging_1", "Jogging_2"]
    assert read_single(folder).name == "Jogging_1"
    assert read_single(folder / "groundtruth_rect.2.txt").boxes[0, 0] == 1


def test_lasot_has_flags_on_one_line_and_a_sentence(tmp_path):
    files = {
        "groundtruth.txt": THREE,
        "full_occlusion.txt": "0,1,0",
        "out_of_view.txt": "0,0,1\n",
        "nlp.txt": "white  airplane\nlanding \n",
    }
    track = read_single(make(tmp_path / "airplane-1", files, "img/{:08d}.jpg"))
    assert (track.layout, track.sentence, len(track.images)) == ("lasot", "white airplane landing", 3)
    assert track.absent.tolist() == [False, True, True]
    assert track.occluded.tolist() == [False, True, False]
    assert track.visibility.tolist()[1:] == [0, 0]
    np.testing.assert_array_equal(track.boxes, [BOXES[0], [np.nan] * 4, [np.nan] * 4])


def test_got10k_has_labels_a_line_and_a_frame_rate(tmp_path):
    files = {
        "groundtruth.txt": THREE,
        "absence.label": "0\n0\n1\n",
        "cover.label": "8\n4\n0\n",
        "cut_by_image.label": "0\n0\n0\n",
        "meta_info.ini": "[METAINFO]\nurl: https://x\nanno_fps: 10Hz\nobject_class: deer\n",
    }
    track = read_single(make(tmp_path / "GOT-10k_Val_000001", files, "{:08d}.jpg"))
    assert (track.layout, track.frame_rate, len(track.images)) == ("got10k", 10, 3)
    assert track.visibility.tolist() == [1, 0.5, 0]
    assert track.occluded.tolist() == [False, True, True]
    assert track.absent.tolist() == [False, False, True]


def test_a_test_set_gives_the_first_box_only(tmp_path):
    track = read_single(make(tmp_path / "GOT-10k_Test_000001", {"groundtruth.txt": "1,2,3,4\n"}, "{:08d}.jpg"))
    assert len(track) == len(track.images) == 3
    assert np.isfinite(track.boxes).all(1).tolist() == [True, False, False]
    assert not track.absent.any()  # not annotated is not absent


def test_trackingnet_keeps_annotations_apart(tmp_path):
    make(tmp_path / "TRAIN_0", {"anno/abc_0.txt": "1.0,2.0,3.0,4.0\n" * 11}, "frames/abc_0/{}.jpg", 11, 0)
    for source in ("frames/abc_0", "anno/abc_0.txt"):
        track = read_single(tmp_path / "TRAIN_0" / source)
        assert (track.layout, track.name, track.images[2].name) == ("trackingnet", "abc_0", "2.jpg")
        assert track.images[10].name == "10.jpg"


def test_uav123_has_several_parts_in_one_folder_of_images(tmp_path):
    files = {f"anno/UAV123/{n}.txt": THREE for n in ("bird1_1", "bird1_2", "bird10")}
    make(
        tmp_path,
        {**files, "anno/UAV123/bird1_2.txt": "1,2,3,4\nNaN,NaN,NaN,NaN\n"},
        "data_seq/UAV123/bird1/{:06d}.jpg",
        800,
    )
    folder = tmp_path / "data_seq" / "UAV123" / "bird1"
    assert [a.name for a in find_annotations(folder)] == ["bird1_1", "bird1_2"]
    second = read_single(tmp_path / "anno" / "UAV123" / "bird1_2.txt")
    assert second.absent.tolist() == [False, True]
    assert [p.name for p in second.images] == ["000775.jpg", "000776.jpg"]  # as UAV123's list of sequences says


def test_nfs_at_thirty_frames_takes_every_eighth_row(tmp_path):
    rows = "".join(f'0 {k} 20 {k + 9} 50 {k + 1} 0 {int(k == 8)} 0 "car"\n' for k in range(24))
    make(tmp_path / "car", {"30/car.txt": rows, "240/car.txt": rows}, "30/car/{:05d}.jpg")
    make(tmp_path / "car", {}, "240/car/{:05d}.jpg", 24)
    slow, fast = (read_single(a.truth) for a in find_annotations(tmp_path / "car"))
    assert (slow.name, slow.frame_rate, len(slow), len(slow.images)) == ("car_30", 30, 3, 3)
    assert slow.boxes[:, 0].tolist() == [0, 8, 16]
    assert slow.occluded.tolist() == [False, True, False]
    assert (fast.name, fast.frame_rate, len(fast)) == ("car_240", 240, 24)
    assert read_single(tmp_path / "car" / "30").name == read_single(tmp_path / "car" / "30" / "car").name == "car_30"


def test_nfs_as_others_repack_it_has_plain_boxes(tmp_path):
    make(tmp_path, {"30/car.txt": "1\t2\t3\t4\n" * 3}, "30/car/{:05d}.jpg")
    np.testing.assert_array_equal(read_single(tmp_path / "30" / "car").boxes, [BOXES[0]] * 3)


def test_tnl2k_has_a_sentence(tmp_path):
    files = {"groundtruth.txt": "1,2,3,4\n0,0,0,0\n3,2,3,4\n", "language.txt": "the man in white"}
    track = read_single(make(tmp_path / "x", files, "imgs/{:05d}.png"))
    assert (track.layout, track.sentence, len(track.images)) == ("tnl2k", "the man in white", 3)
    assert track.absent.tolist() == [False, True, False]


def test_vot_has_polygons_tags_and_a_rate(tmp_path):
    files = {
        "groundtruth.txt": "1,2,4,2,4,6,1,6\n0\nm2,2,3,4,0,12\n",
        "occlusion.tag": "0\n1\n",  # VOT leaves zeros at the end away
        "sequence": "channels.color=color/%08d.jpg\nfps=25\n",
    }
    track = read_single(make(tmp_path / "ants", files, "color/{:08d}.jpg"))
    assert (track.layout, track.frame_rate) == ("vot", 25)
    np.testing.assert_array_equal(track.boxes[[0, 2]], [[1, 2, 4, 6], [2, 2, 5, 6]])
    assert track.absent.tolist() == [False, True, False]
    assert track.occluded.tolist() == [False, True, False]
    old = make(tmp_path / "bag", {"groundtruth.txt": "1,2,4,2,4,6,1,6\n" * 3}, "{:08d}.jpg")  # images beside the file
    assert read_single(old).layout == "vot"


def test_a_file_alone_is_boxes(tmp_path):
    track = read_single(make(tmp_path, {"result.txt": THREE}) / "result.txt")
    assert (track.layout, track.name, track.images) == ("boxes", "result", None)
    np.testing.assert_array_equal(track.boxes, BOXES)


def test_what_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match="expected a sequence of OTB"):
        read_single(tmp_path)
    many = make(tmp_path / "a", {"groundtruth.txt": THREE}, "img/{:08d}.jpg", 2)
    with pytest.raises(FormatError, match=r"groundtruth\.txt: expected at most 2 rows, one an image, found 3"):
        read_single(many)
    flags = make(tmp_path / "b", {"groundtruth.txt": THREE, "full_occlusion.txt": "0,1"}, "img/{:08d}.jpg")
    with pytest.raises(FormatError, match=r"full_occlusion\.txt: expected 3 flags.*found 2"):
        read_single(flags)
    cover = make(tmp_path / "c", {"groundtruth.txt": THREE, "cover.label": "8\n9\n8\n"}, "{:08d}.jpg")
    with pytest.raises(FormatError, match=r"cover\.label: expected visible eighths from 0 to 8"):
        read_single(cover)


@given(
    arrays(np.float64, (3, 2), elements=st.floats(-3000, 3000, width=32)),
    arrays(np.float64, (3, 2), elements=st.floats(0.25, 3000, width=32)),
    arrays(bool, 3),
    st.sampled_from([",", "\t", " ", ", "]),
)
def test_boxes_round_trip_to_the_stated_precision(corner, size, absent, delimiter):
    boxes = np.where(absent[:, None], np.nan, np.c_[corner, corner + size])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "boxes.txt"
        write_boxes(path, boxes, delimiter)
        read = read_single(path)
    np.testing.assert_allclose(read.boxes, boxes, atol=0.00101)
    assert read.absent.tolist() == absent.tolist()


def test_a_real_otb_sequence_is_read(shared_data):
    track = read_single(shared_data / "otb" / "Crossing")
    assert len(track) == len(track.images) == 120
    assert not track.absent.any()
    raw = np.loadtxt(shared_data / "otb" / "Crossing" / "groundtruth_rect.txt")
    np.testing.assert_array_equal(track.boxes[:, :2], raw[:, :2] - 1)
    np.testing.assert_array_equal(track.boxes[:, 2:] - track.boxes[:, :2], raw[:, 2:])
