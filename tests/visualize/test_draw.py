"""Drawing: what must be in the picture, and what must not."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.data.video import read_video
from scenegraph_track.errors import UserError
from scenegraph_track.visualize.canvas import Pen, dashes
from scenegraph_track.visualize.colors import track_colors
from scenegraph_track.visualize.draw import Drawable, Trails, display_scale, draw_tracks

GREY = np.full((480, 640, 3), 90, np.uint8)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return (before.astype(int) != after).any(-1)


def test_colours_are_stable_distinct_and_bright():
    colors = track_colors(np.arange(1, 13)).astype(int)
    assert np.array_equal(track_colors(np.array([7, 3])), colors[[6, 2]])  # the same id, the same colour
    apart = np.abs(colors[:, None] - colors[None]).sum(-1)[~np.eye(12, dtype=bool)]
    assert apart.min() > 40
    assert (colors @ [0.2126, 0.7152, 0.0722]).min() > 90
    assert track_colors(np.array([10**9])).shape == (1, 3)


def test_frame_is_not_changed_and_result_is_the_same_each_time():
    frame, objects = GREY.copy(), Drawable([1], [[100, 100, 200, 300]])
    first, second = draw_tracks(frame, objects), draw_tracks(frame, objects)
    assert np.array_equal(frame, GREY) and np.array_equal(first, second) and changed(GREY, first).any()


def test_box_lies_on_its_edge_and_leaves_the_inside_free():
    drawn = changed(GREY, draw_tracks(GREY, Drawable([1], [[100, 100, 200, 300]])))
    assert drawn[150:250, 98:102].any(1).all() and drawn[150:250, 198:202].any(1).all()
    assert not drawn[110:290, 110:190].any()


def test_hidden_box_is_dashed_and_fainter_than_a_visible_one():
    box = [[100, 200, 300, 400]]
    visible = draw_tracks(GREY, Drawable([1], box))
    hidden = draw_tracks(GREY, Drawable([1], box, [1], [1.25]))
    edge = (slice(395, 405), slice(110, 290))
    assert changed(GREY, visible)[edge].any(0).all()
    share = (np.abs(hidden[edge].astype(int) - GREY[edge]).max(-1).max(0) > 40).mean()
    assert 0.3 < share < 0.8
    strength = [np.abs(image[edge].astype(int) - GREY[edge]).max() for image in (visible, hidden)]
    assert strength[1] < 0.85 * strength[0]


@pytest.mark.parametrize("box", [[-50, -40, 30, 60], [600, 440, 700, 520], [0, 0, 640, 480], [300, 200, 300, 200]])
def test_labels_stay_inside_the_picture(box):
    pen = Pen(GREY.copy())
    assert pen.label(("123 hidden 4.5 s", "123"), np.array(box, float), (200, 60, 60))
    assert (pen.taken >= 0).all() and (pen.taken[:, [0, 2]] <= 640).all() and (pen.taken[:, [1, 3]] <= 480).all()


def test_labels_give_way_to_each_other_and_are_left_out_where_there_is_no_room():
    pen = Pen(np.zeros((60, 60, 3), np.uint8))
    written = [pen.label((str(k),), np.array([20.0, 20, 40, 40]), (200, 60, 60)) for k in range(60)]
    assert written[0] and not all(written)
    x1, y1, x2, y2 = (pen.taken[:, k] for k in range(4))
    across = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    down = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    common = across.clip(0) * down.clip(0) * (1 - np.eye(len(x1)))
    assert common.max() <= 0.2 * ((x2 - x1) * (y2 - y1)).max()


def test_small_frames_are_enlarged_by_a_whole_factor():
    small = np.zeros((128, 128, 3), np.uint8)
    assert draw_tracks(small, Drawable([1], [[10, 10, 50, 50]])).shape == (384, 384, 3)
    assert draw_tracks(small, Drawable([1], [[10, 10, 50, 50]]), scale=1).shape == (128, 128, 3)
    assert (display_scale((128, 128)), display_scale((640, 480)), display_scale((1920, 1080))) == (3, 1, 1)


def test_lines_grow_with_the_picture():
    assert Pen(np.zeros((1080, 1920, 3), np.uint8)).width > Pen(GREY.copy()).width > 1


def test_trails_keep_the_last_second_only_and_are_drawn():
    trails = start = Trails(seconds=1.0)
    for k in range(30):
        trails = trails.follow(Drawable([4], [[10 * k, 100, 10 * k + 20, 200]]), 0.1 * k)
    assert len(start.ids) == 0  # the state handed in is not changed
    assert len(trails.ids) == 10 and trails.times.min() == pytest.approx(2.0)
    assert trails.points[-1].tolist() == [300, 200]  # the middle of the lower edge
    drawn = changed(GREY, draw_tracks(GREY, Drawable([], np.zeros((0, 4))), trails=trails))
    assert drawn[197:204, 220:300].any(0).all() and not drawn[:, :190].any()


def test_masks_arrows_and_legend_are_drawn():
    boxes = [[100, 200, 180, 400], [300, 200, 380, 400]]
    masks = np.zeros((2, 48, 64), bool)
    masks[0, 25:35, 12:16] = True
    plain = draw_tracks(GREY, Drawable([1, 2], boxes))
    masked = changed(plain, draw_tracks(GREY, Drawable([1, 2], boxes, masks=masks)))
    assert masked[260:340, 125:155].all() and not masked[:, 200:].any()
    arrow = changed(plain, draw_tracks(GREY, Drawable([1, 2], boxes, arrows=((0, 1, "occludes"),))))
    assert arrow[295:306, 145:335].any(0).all()
    legend = changed(plain, draw_tracks(GREY, Drawable([1, 2], boxes), legend=True))
    assert legend[450:, :60].any() and not legend[:400].any()


def test_no_objects_leave_the_frame_as_it_is():
    assert np.array_equal(draw_tracks(GREY, Drawable([], [])), GREY)


def test_objects_far_outside_do_not_disturb():
    far = Drawable([1, 2], [[-5000, -5000, -4000, -4000], [1e4, 1e4, 2e4, 2e4]], [0, 1])
    assert draw_tracks(GREY, far).shape == GREY.shape


def test_dashes_cover_half_of_the_line_and_keep_its_ends():
    pieces = dashes(np.array([[0.0, 0], [100, 0], [100, 50]]), 10)
    length = sum(np.hypot(*np.diff(p, axis=0).T).sum() for p in pieces)
    assert length == pytest.approx(75, abs=0.1) and pieces[0][0].tolist() == [0, 0]
    assert dashes(np.array([[5.0, 5], [5, 5]]), 10)[0].tolist() == [[5, 5], [5, 5]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"ids": [1], "boxes": np.zeros((2, 4))}, r"boxes: expected shape \(1, 4\), found \(2, 4\)"),
        ({"ids": [1], "boxes": [[0, 0, np.nan, 1]]}, "boxes: expected finite numbers, row 0 is not"),
        ({"ids": [1], "boxes": [[0, 0, 1, 1]], "state": [0, 1]}, "state: expected shape"),
        ({"ids": [1], "boxes": [[0, 0, 1, 1]], "arrows": [(0, 1, "near")]}, "arrows: expected indices below 1"),
        ({"ids": [1], "boxes": [[0, 0, 1, 1]], "masks": np.zeros((2, 4, 4))}, "masks: expected shape"),
    ],
)
def test_bad_fields_are_refused(fields, message):
    with pytest.raises(UserError, match=message):
        Drawable(**fields)


def test_bad_frames_are_refused():
    with pytest.raises(UserError, match=r"\(H, W, 3\) uint8"):
        draw_tracks(GREY[..., 0], Drawable([], []))
    with pytest.raises(UserError, match="scale of at least 1"):
        draw_tracks(GREY, Drawable([], []), scale=0)


def test_real_pedestrians_are_drawn_within_the_frame(shared_data):
    folder = shared_data / "mot15_video" / "TUD-Campus"
    rows = np.loadtxt(folder / "gt" / "gt.txt", delimiter=",")
    frame = next(iter(read_video(folder / "img1", stop=1)))
    rows = rows[rows[:, 0] == 1]
    objects = Drawable(rows[:, 1].astype(int), np.c_[rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]])
    drawn = draw_tracks(frame.to_rgb(), objects, legend=True)
    assert drawn.shape == (480, 640, 3) and 0.01 < changed(frame.to_rgb(), drawn).mean() < 0.2
