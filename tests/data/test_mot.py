import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scenegraph_track.data import mot
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.structures import Detections, Tracks

SPORTSMOT = "1, 0, 1021, 357, 64, 115, 1, 1, 1\n1, 1, 578, 447, 59, 103, 1, 1, 1\n2, 0, 1020, 356, 64, 115, 1, 1, 1\n"


def write(folder: Path, text: str, name: str = "f.txt") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("0,1,0,0,1,1,1", "a whole frame number from 1 to 100000000 in column 1"),
        ("-3,1,0,0,1,1,1", "a whole frame number"),
        ("1.5,1,0,0,1,1,1", "a whole frame number"),
        ("nan,1,0,0,1,1,1", "a whole frame number"),
        ("1e30,1,0,0,1,1,1", "a whole frame number"),
        ("1,1.5,0,0,1,1,1", "a whole number as id in column 2"),
        ("1,inf,0,0,1,1,1", "a finite id in column 2"),
        ("1,1,nan,0,1,1,1", "a finite box (left, top, width, height) in columns 3-6"),
        ("1,1,0,0,inf,1,1", "a finite box"),
        ("1,1,0,0,-1,1,1", "width and height of at least 0 in columns 5 and 6"),
        ("1,1,0,0,1,1,nan", "a finite score in column 7"),
        ("1,1,0,0,1,1", "7 columns as in the rows before, found 6"),
        ("1,1,0,0,one,1,1", "a number in column 5, found 'one'"),
    ],
)
def test_refused_rows_are_named_by_file_and_line(tmp_path, row, expected):
    path = write(tmp_path, f"1,1,0,0,1,1,1\n\n{row}\n")
    with pytest.raises(FormatError) as error:
        mot.read_rows(path, 6)
    assert str(error.value).startswith(f"{path}:3: expected {expected}")


def test_too_few_columns_for_detections(tmp_path):
    with pytest.raises(FormatError, match=r"f\.txt:1: expected at least 7 columns, found 6"):
        mot.read_detections(write(tmp_path, "1,-1,0,0,1,1\n"))


def test_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        mot.read_detections(tmp_path / "det.txt")


@pytest.mark.parametrize("text", ["", "\n", "\ufeff", "  \r\n"])
def test_an_empty_file_has_no_rows(tmp_path, text):
    path = write(tmp_path, text)
    detections = mot.read_detections(path)
    assert (len(detections), detections.length, len(detections.frame(0))) == (0, 0, 0)
    assert len(mot.read_truth(path).tracks) == len(mot.read_results(path)) == 0


def test_detections_are_sorted_by_frame_and_keep_the_order_within(tmp_path):
    # blanks after commas, CRLF, byte order mark, negative left, zero width, whole numbers written as 3.0
    text = "\ufeff3.0, -1, 9, 9, 1, 1, 0.3\r\n1, -1, -5.5, 2, 0, 4, 120\r\n\r\n3, -1, 7, 7, 2, 2, 0.9\r\n"
    detections = mot.read_detections(write(tmp_path, text))
    assert detections.length == 3
    assert detections.frame(0).boxes.tolist() == [[-5.5, 2, -5.5, 6]]
    assert detections.frame(0).scores.tolist() == [120]
    assert len(detections.frame(1)) == 0
    assert detections.frame(2).boxes.tolist() == [[9, 9, 10, 10], [7, 7, 9, 9]]
    assert len(detections.frame(3)) == 0


def test_truth_of_2016_has_classes_visibility_and_rows_that_do_not_count(tmp_path):
    truth = mot.read_truth(write(tmp_path, "2,7,0,0,4,4,1,1,0.5\n1,7,0,0,4,4,0,12,0.25\n1,3,1,1,2,2,1,1,1\n"))
    assert truth.labelled
    assert truth.id_shift == 0
    assert truth.tracks.ids.tolist() == [3, 7, 7]
    assert truth.tracks.frames.tolist() == [0, 0, 1]
    assert truth.considered.tolist() == [True, False, True]
    assert truth.tracks.scores.tolist() == [1, 0, 1]
    assert truth.tracks.classes.tolist() == [1, 12, 1]
    assert truth.tracks.visibility.tolist() == [1, 0.25, 0.5]


@pytest.mark.parametrize("world", ["-1,-1,-1", "4.4852,5.5016,0", "-3.1784,16.34,0.45739", "3,16,0"])
def test_truth_of_2015_is_all_pedestrians_whatever_the_world_coordinates(tmp_path, world):
    truth = mot.read_truth(write(tmp_path, f"1,1,0,0,4,4,1,{world}\n1,2,0,0,4,4,0,{world}\n"))
    assert not truth.labelled
    assert truth.tracks.classes.tolist() == [1, 1]
    assert torch.isnan(truth.tracks.visibility).all()
    assert truth.considered.tolist() == [True, False]


def test_ids_from_zero_are_shifted_and_the_shift_is_told(tmp_path):
    path = write(tmp_path, SPORTSMOT)
    truth = mot.read_truth(path)
    assert truth.id_shift == 1
    assert truth.tracks.ids.tolist() == [1, 2, 1]
    assert mot.read_results(path).ids.tolist() == [1, 2, 1]


def test_an_identity_twice_in_a_frame_is_named_by_the_second_line(tmp_path):
    path = write(tmp_path, "2,5,0,0,1,1,1,-1,-1,-1\n1,5,0,0,1,1,1,-1,-1,-1\n\n2,5,3,3,1,1,1,-1,-1,-1\n")
    for read in (mot.read_results, mot.read_truth):
        with pytest.raises(FormatError, match=r"f\.txt:4: expected an identity at most once in a frame.*id 5.*frame 2"):
            read(path)
    assert len(mot.read_detections(path)) == 3  # ids mean nothing there


def test_result_rows_have_a_fixed_format(tmp_path):
    path = tmp_path / "new" / "folder" / "r.txt"
    mot.write_results(path, Tracks.from_arrays([1, 0], [2, 1], [[1, 2, 4.004, 5.006], [-0.5, 0, 9.5, 8]], [0.98764, 1]))
    assert path.read_text() == "1,1,-0.50,0.00,10.00,8.00,1,-1,-1,-1\n2,2,1.00,2.00,3.00,3.01,0.9876,-1,-1,-1\n"
    mot.write_results(path, Tracks.empty())
    assert path.read_text() == ""


coordinate = st.floats(-5000, 5000, allow_nan=False, width=32)
extent = st.floats(0, 3000, allow_nan=False, width=32)


@st.composite
def tracks(draw) -> Tracks:
    keys = draw(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), unique=True, max_size=12))
    corner = draw(arrays(np.float64, (len(keys), 2), elements=coordinate))
    size = draw(arrays(np.float64, (len(keys), 2), elements=extent))
    scores = draw(arrays(np.float64, len(keys), elements=st.floats(-9, 200, width=32)))
    frames, ids = np.array(keys, dtype=np.int64).reshape(-1, 2).T.copy()
    visibility = draw(arrays(np.float64, len(keys), elements=st.just(np.nan) | st.floats(0, 1, width=16)))
    return Tracks.from_arrays(frames, ids, np.c_[corner, corner + size], scores, visibility=visibility)


def ltwh(boxes: torch.Tensor) -> np.ndarray:
    boxes = boxes.numpy()
    return np.c_[boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]


@given(tracks())
def test_results_round_trip_to_the_stated_precision(made):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "r.txt"
        mot.write_results(path, made)
        read = mot.read_results(path)
        assert read.frames.tolist() == made.frames.tolist()
        assert read.ids.tolist() == made.ids.tolist()
        np.testing.assert_allclose(ltwh(read.boxes), ltwh(made.boxes), atol=0.00501)
        np.testing.assert_allclose(read.scores, made.scores, rtol=5.1e-4)
        again = Path(folder) / "again.txt"
        mot.write_results(again, read)
        assert again.read_bytes() == path.read_bytes()  # what is read is written as it was


@given(tracks())
def test_truth_round_trips_to_the_stated_precision(made):
    considered = made.scores.numpy() > 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gt.txt"
        mot.write_truth(path, made, considered)
        read = mot.read_truth(path)
    assert read.labelled == (len(made) > 0)
    assert read.tracks.ids.tolist() == made.ids.tolist()
    assert read.considered.tolist() == considered.tolist()
    np.testing.assert_allclose(ltwh(read.tracks.boxes), ltwh(made.boxes), atol=0.000501)
    np.testing.assert_allclose(read.tracks.visibility, made.visibility, atol=1e-5)


@given(tracks())
def test_detections_round_trip_to_the_stated_precision(made):
    frames = [
        Detections(boxes=at.boxes, scores=at.scores)
        for at in (made.at(index) for index in range(int(made.frames.max()) + 1 if len(made) else 0))
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "det.txt"
        mot.write_detections(path, frames)
        read = mot.read_detections(path)
    assert read.length == len(frames)
    for index, detections in enumerate(frames):
        np.testing.assert_allclose(ltwh(read.frame(index).boxes), ltwh(detections.boxes), atol=0.000501)
        np.testing.assert_allclose(read.frame(index).scores, detections.scores, rtol=5.1e-6)


mot_like = st.lists(
    st.sampled_from(["1", "2", "0", "-1", "1.5", "nan", "inf", "1e400", "1e17", "x", "", " ", "99999999999"]),
    max_size=10,
).map(",".join)


@given(st.text(max_size=50) | st.lists(mot_like, max_size=4).map("\n".join) | st.binary(max_size=40))
def test_any_file_is_read_or_refused_with_a_format_error(junk):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junk.txt"
        path.write_bytes(junk if isinstance(junk, bytes) else junk.encode("utf-8", "surrogatepass"))
        for read in (mot.read_detections, mot.read_truth, mot.read_results):
            try:
                read(path)
            except FormatError as error:
                assert error.line >= 1


def test_every_real_file_is_read(shared_data):
    truths = sorted(shared_data.glob("mot*/*/gt/gt.txt")) + sorted(shared_data.glob("sportsmot_noisy/*/gt/gt.txt"))
    assert len(truths) == 24
    for path in truths:
        truth = mot.read_truth(path)
        raw = np.loadtxt(path, delimiter=",", ndmin=2)
        assert len(truth.tracks) == len(raw)
        assert truth.labelled == (raw.shape[1] == 9)
        assert int(truth.considered.sum()) == int((raw[:, 6] != 0).sum())
        detections = mot.read_detections(path.parents[1] / "det" / "det.txt")
        assert sum(len(detections.frame(index)) for index in range(detections.length)) == len(detections)
