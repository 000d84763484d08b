"""Masked targets: what is hidden, that nothing else changes, and what the command says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation import masked
from scenegraph_track.evaluation.masked import MaskedMethod, main, measure_masked
from scenegraph_track.evaluation.masked_clips import MaskedSource, masked_clip, patch_of
from scenegraph_track.evaluation.single_baselines import ConstantPosition
from scenegraph_track.evaluation.single_clips import SingleClip

SIZE = (96, 72)


def clip(frames: int = 5) -> SingleClip:
    """A target that moves two pixels a frame over black; it is absent in the fourth frame."""
    boxes = np.stack([np.array([20.0, 16.0, 50.0, 46.0]) + 2 * t for t in range(frames)])
    absent = np.arange(frames) == 3
    images = [np.zeros((SIZE[1], SIZE[0], 3), np.uint8) for _ in range(frames)]
    boxes[absent] = np.nan
    return SingleClip("x", images, boxes, absent, np.where(absent, 0.0, 1.0), SIZE, ())


class Source:
    def __len__(self) -> int:
        return 2

    def __str__(self) -> str:
        return "squares"

    def single_clips(self, k: int) -> list[SingleClip]:
        return [clip()]


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_the_patch_hides_the_share_of_the_box_from_the_second_frame_on(share: float) -> None:
    before, after = clip(), masked_clip(clip(), share)
    assert not after.images[0].any() and not after.images[3].any()
    for frame in (1, 2, 4):
        painted = after.images[frame].any(-1)
        left, top, right, bottom = before.boxes[frame].astype(int)
        assert painted.sum() == pytest.approx(share * 900, rel=0.06)
        assert painted[top:bottom, left:right].sum() == painted.sum()
    assert np.array_equal(after.boxes, before.boxes, equal_nan=True) and np.array_equal(after.absent, before.absent)
    assert np.allclose(after.visibility, [1, 1 - share, 1 - share, 0, 1 - share])


def test_the_patch_is_opaque_textured_and_goes_along() -> None:
    images = masked_clip(clip(), 0.5).images
    first, second = (image[image.any(-1)] for image in (images[1], images[2]))
    assert np.array_equal(first, second)
    assert first.std(0).min() > 5
    white = clip()
    white = SingleClip(**{**vars(white), "images": [image + 255 for image in white.images]})
    covered = masked_clip(white, 0.5).images[1]
    assert np.array_equal(covered[images[1].any(-1)], images[1][images[1].any(-1)])


def test_larger_patches_hide_all_that_smaller_ones_hide() -> None:
    for corner in ((0, 0), (1, 0), (0, 1), (1, 1)):
        box = np.array([10.0, 20.0, 50.0, 40.0])
        small, large = (patch_of(box, share, np.array(corner)) for share in (0.3, 0.7))
        assert (large[:2] <= small[:2]).all() and (large[2:] >= small[2:]).all()
        assert (large[2:] - large[:2]).prod() == pytest.approx(0.7 * 800)
        assert (large[:2] >= box[:2] - 1e-9).all() and (large[2:] <= box[2:] + 1e-9).all()


def test_a_source_of_masked_targets_is_always_the_same() -> None:
    source = MaskedSource(Source(), 0.5)
    one, two, other = (source.single_clips(k)[0] for k in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(one.images, two.images))
    assert any(not np.array_equal(a, b) for a, b in zip(one.images, other.images))
    assert len(source) == 2 and str(source) == "squares, 50 % of each target masked"
    plain = MaskedSource(Source(), 0.0).single_clips(0)[0]
    assert not any(image.any() for image in plain.images)


def test_a_patch_over_the_border_is_cut() -> None:
    shifted = clip()
    shifted = SingleClip(**{**vars(shifted), "boxes": shifted.boxes - 35.0})
    after = masked_clip(shifted, 0.7)
    assert after.images[1].shape == (72, 96, 3)
    assert after.images[1][20:].sum() == 0


def test_wrong_shares_are_refused() -> None:
    with pytest.raises(UserError, match="expected shares from 0 to below 1, found 1"):
        masked_clip(clip(), 1.0)
    with pytest.raises(UserError, match="expected images"):
        masked_clip(SingleClip(**{**vars(clip()), "images": None}), 0.5)


class Follows:
    """Knows where the target is while less than half of it is hidden."""

    def start(self, image, box):
        return 0, box

    def step(self, state, image):
        count, box = state
        hidden = image.any(-1).sum() > 400
        return (count + 1, box), box + (0 if hidden else 2 * (count + 1)), 1.0


def test_figures_are_told_by_method_and_share() -> None:
    done = []
    found = measure_masked(Source(), {"still": ConstantPosition(), "follows": Follows()}, (0.0, 0.3, 0.7), done.append)
    assert done == [0, 1] and list(found) == ["still", "follows"]
    assert found["follows"]["0"]["ao"] == 1 and found["follows"]["0.3"]["ao"] == 1
    assert found["follows"]["0.7"] == found["still"]["0.7"] == found["still"]["0"]
    assert found["still"]["0"]["ao"] < 0.9


def test_methods_are_named_with_their_follower_and_weights() -> None:
    assert MaskedMethod.parsed("mine=runs/a.safetensors") == MaskedMethod("mine", "runs/a.safetensors")
    assert MaskedMethod.parsed("b=constant:x") == MaskedMethod("b", "x", "constant")
    assert MaskedMethod.parsed("c=D:/a.safetensors").weights == "D:/a.safetensors"
    for wrong in ("x", "=a", "x="):
        with pytest.raises(UserError, match="expected NAME="):
            MaskedMethod.parsed(wrong)


def test_the_command_prints_figures_beside_the_published_claim(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(masked, "SingleWorlds", lambda *_, **__: Source())
    monkeypatch.setattr("sys.argv", ["masked", "--method", "still=constant:none", "--json", str(tmp_path / "m.json")])
    main()
    said = " ".join(capsys.readouterr().out.split())
    assert "70 %" in said and "over 0.60 AO where 70 % are masked" in said
    values = json.loads((tmp_path / "m.json").read_text())
    assert values["figures"]["still"] == values["figures"]["constant position"]
    assert list(values["figures"]["still"]) == ["0", "0.3", "0.5", "0.7"]
    monkeypatch.setattr("sys.argv", ["masked", "--method", "x"])
    with pytest.raises(SystemExit, match="expected NAME="):
        main()
