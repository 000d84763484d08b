import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scenegraph_track.data.tables import line_of_row, parse_table
from scenegraph_track.errors import FormatError

ROWS = [[1.0, -2.5, 3e2], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    "text",
    [
        "1,-2.5,300\n4,5,6\n",
        "1, -2.5, 3e2\n4 ,5 , 6",  # blanks round commas
        "1 -2.5 +300.\n\n4\t5 6\n\n",  # blanks and tabs, blank lines
        "1;-2.5;300;\n4;5;6;",  # a trailing separator on every row
        "1,-2.5,300\n4,5,6,\n",  # ... and on one
        "1 ,-2.5\t300\n 4,5 6",  # mixed
    ],
)
def test_separators(text):
    np.testing.assert_array_equal(parse_table("f", text, 3), ROWS)


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("1,2,3\n\n4,x,6", 3, "a number in column 2, found 'x'"),
        ("1,2,3\n4,5", 2, "at least 3 columns, found 2"),
        ("1,2,3\n4,5,6,7", 2, "3 columns as in the rows before, found 4"),
        ("1,,2,3", 1, "a number in column 2, found ''"),
        (",1,2,3", 1, "a number in column 1, found ''"),
        ("1,2,3\n1,,2", 2, "a number in column 2"),
        ("frame,id,left", 1, "a number in column 1, found 'frame'"),
        ("1,2,3 # no comments", 1, "a number in column 4"),
        ("1_0,2,3", 1, "a number in column 1"),
        ("٣,2,3", 1, "a number in column 1"),
        ("1,2,0x3", 1, "a number in column 3"),
    ],
)
def test_refusals_name_the_line(text, line, expected):
    with pytest.raises(FormatError, match=f"f.txt:{line}: expected ") as error:
        parse_table("f.txt", text, 3)
    assert expected in str(error.value)


def test_no_rows_have_the_columns_asked_for():
    assert parse_table("f", " \n\n", 7).shape == (0, 7)


def test_line_of_row_skips_blank_lines():
    assert line_of_row("\n1 2\n \n3 4\n", 1) == (4, "3 4")


@given(st.text(alphabet="0123456789.,;- +\teENnaifx\n", max_size=60) | st.text(max_size=40))
def test_any_text_is_a_table_or_a_format_error(text):
    try:
        assert parse_table("f", text.replace("\r", "\n"), 2).shape[1] >= 2
    except FormatError as error:
        assert error.line >= 1
