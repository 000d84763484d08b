"""Crop, transform, paste: boxes and visible parts are those of what was drawn."""

from __future__ import annotations

import numpy as np
import pytest

from scenegraph_track.pretraining.paste import (
    Cutout,
    PasteSettings,
    cut_out_object,
    cut_out_patch,
    pasted,
    recoloured,
)

STILL = PasteSettings(colour=0.0)


def plain(height: int = 20, width: int = 14) -> Cutout:
    return Cutout(np.full((height, width, 3), 255, np.uint8), np.full((height, width), 255, np.uint8))


def black(frames: int = 6) -> np.ndarray:
    return np.zeros((frames, 60, 80, 3), np.uint8)


def test_boxes_end_where_the_pixels_do() -> None:
    """To the blur of the outline; nothing is drawn into the frames that were given."""
    checked = 0
    for seed in range(8):
        ground = black()
        clip = pasted(np.random.default_rng(seed), ground, [plain()], STILL)
        assert not ground.any()
        assert clip["boxes"].min() >= 0 and (clip["boxes"][..., 2:] <= [80, 60]).all()
        for image, box, visible in zip(clip["images"], clip["boxes"][:, 0], clip["visible"][:, 0]):
            if visible < 0.97:  # a turned corner beyond the border moves the cut box, not the pixels
                continue
            bright = image.max(-1) > 127
            rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
            assert np.abs(box - [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).max() < 3.5
            checked += 1
    assert checked > 8


def test_the_visible_part_is_what_is_in_the_image_and_not_covered() -> None:
    checked = 0
    for seed in range(12):
        back, front = plain(30, 30), plain(24, 24)
        back.pixels[..., 1:] = 0
        front.pixels[..., :2] = 0
        clip = pasted(np.random.default_rng(seed), black(), [back, front], STILL)
        red = clip["images"][..., 0] > 127
        alone = pasted(np.random.default_rng(seed), black(), [back], STILL)  # the same way, as it is drawn first
        for t in range(6):
            whole = (alone["images"][t, ..., 0] > 127).sum()
            if whole < 50 or alone["visible"][t, 0] < 0.99:
                continue
            assert clip["visible"][t, 0] == pytest.approx(red[t].sum() / whole, abs=0.08)
            checked += clip["visible"][t, 0] < 0.9
    assert checked > 3


def test_a_cutout_is_what_is_under_the_mask() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    mask = np.zeros((20, 30), bool)
    mask[4:9, 10:13] = True
    mask[6, 13] = True
    cutout = cut_out_object(image, mask)
    assert np.array_equal(cutout.pixels, image[4:9, 10:14])
    assert np.array_equal(cutout.mask > 0, mask[4:9, 10:14])
    corners = set(map(tuple, cutout.corners.T.tolist()))
    assert {(0, 0), (3, 0), (0, 5), (3, 5), (4, 2), (4, 3)} <= corners


def test_patches_are_pieces_of_the_image() -> None:
    image = np.random.default_rng(1).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    for seed in range(30):
        patch = cut_out_patch(np.random.default_rng(seed), image, (8.0, 90.0))
        height, width = patch.mask.shape
        assert patch.mask.any() and height <= 40 and width <= 50
        windows = np.lib.stride_tricks.sliding_window_view(image, (height, width, 3))[:, :, 0]
        assert (windows == patch.pixels).all((2, 3, 4)).any()


def test_a_twin_has_the_same_shape_and_other_colours() -> None:
    cutout = Cutout(
        np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), np.full((8, 8), 255, np.uint8)
    )
    twin = recoloured(np.random.default_rng(1), cutout)
    assert twin.mask is cutout.mask and not np.array_equal(twin.pixels, cutout.pixels)


def test_the_same_generator_gives_the_same_clip() -> None:
    one, two = (pasted(np.random.default_rng(5), black(), [plain(), plain()], PasteSettings()) for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)
