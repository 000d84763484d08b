import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from scenegraph_track.data.regions import decode_mask, read_boxes_with_flags, read_regions
from scenegraph_track.errors import FormatError


def write(folder: Path, text: str) -> Path:
    path = folder / "groundtruth.txt"
    path.write_text(text)
    return path


@pytest.mark.parametrize("separator", [",", "\t", " ", ";", ", ", " ,\t"])
def test_boxes_with_any_separator(tmp_path, separator):
    lines = [separator.join(row) for row in (("205", "151", "17", "50"), ("1.5", "-2", "3", "4e0"))]
    boxes, absent = read_regions(write(tmp_path, "\r\n".join(lines) + "\r\n\r\n"))
    np.testing.assert_array_equal(boxes, [[205, 151, 222, 201], [1.5, -2, 4.5, 2]])
    assert not absent.any()


def test_separators_may_differ_from_line_to_line(tmp_path):
    boxes, _ = read_regions(write(tmp_path, "1,2,3,4\n1\t2\t3\t4\n1 2 3 4\n"))
    np.testing.assert_array_equal(boxes, [[1, 2, 4, 6]] * 3)


@pytest.mark.parametrize("line", ["NaN,NaN,NaN,NaN", "nan\tnan\tnan\tnan", "0,0,0,0", "5,5,0,3", "5,5,-1,3", "0"])
def test_absent_targets(tmp_path, line):
    boxes, absent = read_regions(write(tmp_path, f"1,2,3,4\n{line}\n1,2,3,4"))
    assert absent.tolist() == [False, True, False]
    assert np.isnan(boxes[1]).all()


def test_polygons_give_the_enclosing_box(tmp_path):
    boxes, _ = read_regions(write(tmp_path, "4,1,7,3,5,6,2,4\n0,0,2,0,1,3\n1,2,3,4\n"))
    np.testing.assert_array_equal(boxes, [[2, 1, 7, 6], [0, 0, 2, 3], [1, 2, 4, 6]])


def test_vot_masks_give_the_enclosing_box(tmp_path):
    # 4 x 3 pixels at (10, 20): one row of zeros, then x = 1, 2 in the second row and x = 1 in the third
    boxes, absent = read_regions(write(tmp_path, "m10,20,4,3,5,2,2,1\nm0,0,0,0,0\nm3,4,2,2,0,4\n"))
    np.testing.assert_array_equal(boxes[[0, 2]], [[11, 21, 13, 23], [3, 4, 5, 6]])
    assert absent.tolist() == [False, True, False]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=7)), st.integers(-9, 99), st.integers(-9, 99))
def test_masks_round_trip(mask, left, top):
    flat = np.r_[False, mask.ravel()]
    edges = np.flatnonzero(np.diff(flat.astype(int))) if mask.any() else []
    runs = np.diff(np.r_[0, edges, mask.size])
    line = "m" + ",".join(str(int(n)) for n in (left, top, mask.shape[1], mask.shape[0], *runs))
    decoded, offset = decode_mask("f", 1, line)
    assert offset == (left, top)
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,2,3", "a box (4 numbers), a polygon (6, 8, ... numbers) or a mask (m...)"),
        ("1,2,3,4,5", "a box (4 numbers)"),
        ("1,2,3,x", "a box (4 numbers)"),
        ("", "a box (4 numbers)"),  # frames are counted by lines
        ("nan,2,3,4", "finite numbers, or NaN in all places"),
        ("inf,2,3,4", "finite numbers, or NaN in all places"),
        ("m1,2,3", "a mask m<left>,<top>,<width>,<height>,<runs>"),
        ("m1,2,3,a,5", "a mask m<left>"),
        ("m1,2,2,2,3,9", "runs that fill the mask at most"),
        ("m1,2,99999,99999,3", "runs that fill the mask at most"),
        ("m1,2,2,2,-3,3", "runs that fill the mask at most"),
    ],
)
def test_refused_lines_are_named(tmp_path, line, expected):
    path = write(tmp_path, f"1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(FormatError) as error:
        read_regions(path)
    assert str(error.value).startswith(f"{path}:2: expected {expected}")


def test_nfs_rows_have_corners_and_flags(tmp_path):
    text = '0 10 20 30 50 1 0 0 0 "air board"\n0 11 20 31 50 2 0 1 1 "air board"\n0 0 0 0 0 3 1 0 0 "air board"\n'
    boxes, absent, occluded = read_boxes_with_flags(write(tmp_path, text))
    np.testing.assert_array_equal(boxes[:2], [[10, 20, 30, 50], [11, 20, 31, 50]])
    assert absent.tolist() == [False, False, True]
    assert occluded.tolist() == [False, True, False]
    for line in ('0 1 2 3 4 5 0 0 "x"', '0 1 2 x 4 5 0 0 0 "x"', '0 1 2 3 nan 5 0 0 0 "x"', '0 1 2 3 4 1 0 0 0 "x"'):
        with pytest.raises(FormatError, match=r"groundtruth\.txt:2: expected"):
            read_boxes_with_flags(write(tmp_path, '0 1 2 3 4 1 0 0 0 "x"\n' + line))


cells = st.sampled_from(["1", "2.5", "-3", "nan", "inf", "m", "m1", "x", "", "1e400", '"o"', "0"])


@given(st.text(max_size=40) | st.lists(st.lists(cells, max_size=10).map(",".join), max_size=4).map("\n".join))
def test_any_text_is_read_or_refused_with_a_format_error(junk):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "junk.txt"
        path.write_bytes(junk.encode("utf-8", "surrogatepass"))
        for read in (read_regions, read_boxes_with_flags):
            try:
                boxes, absent, *_ = read(path)
                np.testing.assert_array_equal(np.isnan(boxes).all(1), absent)
            except FormatError as error:
                assert error.line >= 1
