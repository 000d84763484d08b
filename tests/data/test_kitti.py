import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenegraph_track.data import kitti
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.structures import Tracks

LABELS = """\
0 -1 DontCare -1 -1 -10.000000 219.31 188.49 245.50 218.56 -1000 -1000 -1000 -10 -1 -1 -1
0 2 Pedestrian 0 0 -2.523309 1106.137292 166.576807 1204.470628 323.876144 1.714 0.767 0.972 6.301 1.65 8.455 -1.833
1 0 Van 0 1 -1.793451 296.744956 161.752147 455.226042 292.372804 2.0 1.823 4.433 -4.552 1.858 13.41 -2.115488
0 0 Van 0 0 -1.793451 296.744956 161.752147 455.226042 292.372804 2.0 1.823 4.433 -4.552 1.858 13.41 -2.115488
1 5 Person_sitting 1 3 0 1 2 3 4 1 1 1 0 0 5 0
"""
ROW = "0 1 Car 0 0 -10 1 2 3 4 -1 -1 -1 -1000 -1000 -1000 -10 0.5"


@pytest.fixture
def labels(tmp_path) -> Path:
    path = tmp_path / "0000.txt"
    path.write_text(LABELS)
    return path


def test_labels_are_sorted_and_dont_care_regions_stand_apart(labels):
    read = kitti.read_labels(labels)
    assert read.tracks.frames.tolist() == [0, 0, 1, 1]
    assert read.tracks.ids.tolist() == [1, 3, 1, 6]  # the file's plus 1
    assert [kitti.TYPES[c - 1] for c in read.tracks.classes] == ["Van", "Pedestrian", "Van", "Person"]
    assert read.tracks.boxes[0].tolist() == [296.744956, 161.752147, 455.226042, 292.372804]
    assert read.occluded.tolist() == [0, 0, 1, 3]
    assert read.locations[1].tolist() == [6.301, 1.65, 8.455]
    assert read.dimensions[1].tolist() == [1.714, 0.767, 0.972]
    assert read.rotation[1] == -1.833
    assert read.ignored_frames.tolist() == [0]
    assert read.ignored_boxes.tolist() == [[219.31, 188.49, 245.50, 218.56]]
    assert read.length == 2


def test_labels_written_with_all_columns_are_read_the_same(labels, tmp_path):
    first = kitti.read_labels(labels)
    kitti.write_labels(tmp_path / "out.txt", first.tracks, first)
    second = kitti.read_labels(tmp_path / "out.txt")
    assert second.tracks.replace(boxes=first.tracks.boxes) == first.tracks
    np.testing.assert_allclose(second.tracks.boxes, first.tracks.boxes, atol=0.00501)
    for name in ("truncated", "occluded", "alpha", "dimensions", "locations", "rotation", "ignored_frames"):
        np.testing.assert_array_equal(getattr(second, name), getattr(first, name), err_msg=name)


def test_detections_need_no_identity_and_keep_class_and_score(tmp_path):
    path = tmp_path / "d.txt"
    path.write_text("\n".join([ROW.replace("0 1", "3 -1", 1), ROW.replace("0 1", "3 -1", 1), LABELS.split("\n")[0]]))
    detections = kitti.read_detections(path)
    assert detections.length == 4  # file frames count from 0, a MOTChallenge row's from 1
    frame = detections.frame(3)
    assert frame.boxes.tolist() == [[1, 2, 3, 4]] * 2
    assert frame.scores.tolist() == [0.5, 0.5]
    assert frame.classes.tolist() == [kitti.TYPES.index("Car") + 1] * 2


def test_label_files_are_told_from_motchallenge_files(labels, tmp_path):
    assert kitti.is_label_file(labels)
    (tmp_path / "det.txt").write_text("1,-1,0,0,1,1,1,-1,-1,-1\n")
    (tmp_path / "empty.txt").write_text("")
    assert not kitti.is_label_file(tmp_path / "det.txt")
    assert not kitti.is_label_file(tmp_path / "empty.txt")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("Car", "Dog", "one of Pedestrian, Person, Cyclist, Car, Van, Truck, Tram, Misc, DontCare in column 3"),
        ("0 1", "-1 1", "a whole frame number from 0 in column 1"),
        ("0 1", "0 1.5", "a whole number as track id in column 2"),
        ("0 1", "0 -1", "a track id of at least 0 in column 2"),
        ("1 2 3 4", "5 2 3 4", "right >= left"),
        ("1 2 3 4", "nan 2 3 4", "a finite box in columns 7-10"),
        ("1 2 3 4", "1 2 3 x", "numbers in all columns but the third, found 'x'"),
        (" 0.5", " inf", "finite numbers in all columns but the third"),
        (" 0.5", " 0.5 1", "17 columns, or 18 with a score, found 19"),
    ],
)
def test_refused_rows_are_named_by_file_and_line(tmp_path, old, new, expected):
    path = tmp_path / "l.txt"
    path.write_text("\n" + ROW.replace(old, new, 1))
    with pytest.raises(FormatError) as error:
        kitti.read_labels(path)
    assert str(error.value).startswith(f"{path}:2: expected {expected}")


def test_an_identity_twice_in_a_frame_is_refused(tmp_path):
    path = tmp_path / "l.txt"
    path.write_text(f"{ROW}\n{ROW}\n")
    with pytest.raises(FormatError, match=r"l\.txt:2: expected an identity at most once in a frame"):
        kitti.read_labels(path)


def test_classes_that_kitti_does_not_have_are_not_written(tmp_path):
    with pytest.raises(UserError, match="KITTI classes are 1 to 8, found"):
        kitti.write_labels(tmp_path / "l.txt", Tracks.from_arrays([0], [1], [[0, 0, 1, 1]], classes=np.array([80])))
    assert not (tmp_path / "l.txt").exists()


box = st.tuples(*[st.floats(-500, 2000, width=32)] * 2, *[st.floats(0, 500, width=32)] * 2)


@given(st.dictionaries(st.tuples(st.integers(0, 9), st.integers(1, 5)), st.tuples(box, st.integers(1, 8)), max_size=8))
def test_tracks_round_trip_to_the_stated_precision(rows):
    keys = np.array(list(rows), dtype=np.int64).reshape(-1, 2)
    boxes = np.array([(x, y, x + w, y + h) for (x, y, w, h), _ in rows.values()]).reshape(-1, 4)
    made = Tracks.from_arrays(keys[:, 0], keys[:, 1], boxes, classes=np.array([c for _, c in rows.values()], np.int64))
    with tempfile.TemporaryDirectory() as folder:
        kitti.write_labels(Path(folder) / "l.txt", made)
        read = kitti.read_labels(Path(folder) / "l.txt").tracks
    assert read.replace(boxes=made.boxes) == made
    np.testing.assert_allclose(read.boxes, made.boxes, atol=0.00501)


@given(
    st.text(max_size=50) | st.lists(st.sampled_from([*ROW.split(), "nan", "inf", "x", "\n"]), max_size=40).map(" ".join)
)
def test_any_text_is_read_or_refused_with_a_format_error(junk):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junk.txt"
        path.write_bytes(junk.encode("utf-8", "surrogatepass"))
        for read in (kitti.read_labels, kitti.read_detections):
            try:
                read(path)
            except FormatError as error:
                assert error.line >= 1
        assert kitti.is_label_file(path) in (True, False)
