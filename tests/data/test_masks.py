from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from scenegraph_track.data.masks import boxes_of_mask, davis_palette, find_masks, read_mask, read_masks, write_masks
from scenegraph_track.errors import FormatError, UserError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


IDS = np.zeros((4, 6), np.uint8)
IDS[1:3, 2:5] = 1
IDS[3, 0] = 7


def test_the_palette_is_the_one_of_voc_and_davis():
    assert davis_palette()[[0, 1, 2, 3, 4, 8, 255]].tolist() == [
        *([0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128], [64, 0, 0], [224, 224, 192])
    ]


def test_boxes_span_whole_pixels():
    ids, boxes = boxes_of_mask(IDS)
    assert ids.tolist() == [1, 7]
    assert boxes.tolist() == [[2, 1, 5, 3], [0, 3, 1, 4]]
    ids, boxes = boxes_of_mask(np.zeros((2, 2), np.uint8))
    assert (len(ids), boxes.shape) == (0, (0, 4))


@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 3)))
def test_boxes_are_the_extremes_of_the_pixels(mask):
    ids, boxes = boxes_of_mask(mask)
    assert ids.tolist() == [i for i in range(1, 4) if (mask == i).any()]
    for i, box in zip(ids, boxes):
        y, x = np.nonzero(mask == i)
        assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]


def test_written_masks_are_palette_images_and_read_the_same(tmp_path):
    rng = np.random.default_rng(0)
    masks = [IDS, rng.integers(0, 256, (4, 6)), np.full((4, 6), 255, np.uint8)]
    write_masks(tmp_path / "bear", masks)
    read = read_masks(tmp_path / "bear")
    assert (read.name, len(read), read.size) == ("bear", 3, (6, 4))
    for made, mask in zip(masks, read.frames(), strict=True):
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, made)
    with Image.open(tmp_path / "bear" / "00000.png") as image:
        assert image.mode == "P"
        assert image.convert("RGB").getpixel((2, 1)) == (128, 0, 0)


def test_masks_become_tracks(tmp_path):
    write_masks(tmp_path / "bear", [IDS, IDS * 0, IDS])
    tracks = read_masks(tmp_path / "bear").tracks()
    assert tracks.frames.tolist() == [0, 0, 2, 2]
    assert tracks.ids.tolist() == [1, 7, 1, 7]
    write_masks(tmp_path / "none", [IDS * 0])
    assert len(read_masks(tmp_path / "none").tracks()) == 0


def test_grey_masks(tmp_path):
    # only 0 and 255: one object (DAVIS 2016); other greys: ids; all zero: nothing
    for values, expected in (([0, 255], [0, 1]), ([0, 3, 255], [0, 3, 255]), ([0, 0], [0, 0]), ([2, 1], [2, 1])):
        Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "m.png")
        assert read_mask(tmp_path / "m.png").tolist() == [expected]
    Image.fromarray(np.array([[0, 1]], bool)).save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1]]


def test_other_images_are_refused(tmp_path):
    path = tmp_path / "m.png"
    for array in (np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 300, np.uint16)):
        Image.fromarray(array).save(path)
        with pytest.raises(FormatError, match=r"m\.png: expected a palette or grey PNG with ids from 0 to 255"):
            read_mask(path)
    whole = path.read_bytes()
    for data in (b"", b"no image", whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(FormatError, match="expected a PNG file that is whole"):
            read_mask(path)
    with pytest.raises(UserError, match="no such file"):
        read_mask(tmp_path / "none.png")
    with pytest.raises(UserError, match="expected a folder of PNG masks"):
        read_masks(tmp_path / "none")


def test_a_mask_of_another_size_is_refused(tmp_path):
    write_masks(tmp_path / "bear", [IDS, IDS.T])
    with pytest.raises(FormatError, match=r"00001\.png: expected 6 x 4 pixels as in the first mask, found 4 x 6"):
        read_masks(tmp_path / "bear").tracks()


def test_a_wrong_mask_leaves_no_folder(tmp_path):
    for wrong in (np.zeros((2, 2)), np.full((2, 2), 256), np.zeros((1, 2, 2), np.uint8)):
        with pytest.raises(UserError, match="mask 1 is"):
            write_masks(tmp_path / "bear", [IDS, wrong])
    with pytest.raises(UserError, match="expected a name for every mask"):
        write_masks(tmp_path / "bear", [IDS, IDS], names=["a"])
    assert names(tmp_path) == []


def test_sequences_of_davis_and_youtube_roots(tmp_path):
    write_masks(tmp_path / "davis" / "Annotations" / "480p" / "bear", [IDS])
    write_masks(tmp_path / "davis" / "Annotations" / "480p" / "cat", [IDS])
    write_masks(tmp_path / "youtube" / "Annotations" / "0a1", [IDS], names=["00005"])
    assert list(find_masks(tmp_path / "davis")) == ["bear", "cat"]
    assert read_masks(find_masks(tmp_path / "youtube")["0a1"]).files[0].name == "00005.png"
    assert find_masks(tmp_path / "none") == {}


def test_a_real_davis_sequence_is_read(shared_data):
    masks = read_masks(shared_data / "davis" / "car-shadow")
    assert (masks.name, len(masks), masks.size) == ("car-shadow", 40, (427, 240))
    assert set(np.unique(masks[0]).tolist()) == {0, 1}
    assert masks.tracks().ids.tolist() == [1] * 40
