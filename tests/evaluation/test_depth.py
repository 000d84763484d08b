"""Video depth beside simpler guesses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import Recording, Worlds, mean_depth_map, prior_for
from scenegraph_track.evaluation.depth import depth_report, measure_depth, network_depth, video_depth_estimate
from scenegraph_track.evaluation.depth_files import compare_folders

SMALL = Worlds(sequences=2, size=(48, 48), frames=6)


def test_mean_map_by_hand() -> None:
    # Of one world it is that world's depth over its median.
    one = mean_depth_map("standard", (32, 32), worlds=1)
    assert one.shape == (32, 32) and float(one.median()) == pytest.approx(1, abs=0.1)
    assert prior_for(Worlds(size=(40, 24)), "standard", worlds=1).shape == (24, 40)


def perfect(clip) -> object:
    """A network that knows the depth of the middle frame, in another unit."""
    return lambda image, intrinsics: 7 * torch.from_numpy(clip.depth(clip.frames[0]))[None, None]


def test_true_depth_has_no_error() -> None:
    clip, prior = SMALL.clip(0), torch.ones(48, 48)
    tally, shown = measure_depth(clip, "dis_fast", perfect(clip), prior)
    found = depth_report(tally)
    assert found["abs_rel_network"] == pytest.approx(0, abs=1e-6) and found["delta1_network"] == 1
    assert found["methods"]["network"]["scale"] == pytest.approx(1 / 7)
    assert found["abs_rel_mean_map"] == found["abs_rel_row"] == found["abs_rel_constant"] > 0.1  # the map is constant
    assert 0 <= found["coverage_triangulated"] <= 1 and found["methods"]["video"]["coverage"] == 1
    assert shown["truth"].shape == shown["video"].shape == (48, 48) and shown["image"].shape == (48, 48, 3)


def test_without_a_network() -> None:
    # Its row is left out, and the mean map completes the video depth.
    clip, prior = SMALL.clip(0), mean_depth_map("standard", (48, 48), 2)
    tally, shown = measure_depth(clip, "dis_fast", None, prior)
    found = depth_report(tally)
    assert "abs_rel_network" not in found and "network" not in shown and np.isfinite(found["abs_rel"])


def test_video_depth_where_nothing_moves() -> None:
    # Nothing can be triangulated: the guess alone is left.
    images = [torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))] * 5
    k = torch.tensor([[35.0, 0, 16], [0, 35, 16], [0, 0, 1]])
    guess = torch.rand(32, 32) + 1
    found = video_depth_estimate(images, 2, k, "dis_fast", None, guess)
    torch.testing.assert_close(found.depth, guess)
    assert not found.triangulated.confidence.any()

    def network(image: Tensor, intrinsics: Tensor) -> Tensor:
        assert image.shape == (1, 3, 32, 32) and float(image.max()) <= 1 and intrinsics.shape == (1, 3, 3)
        return 3 * guess[None, None]

    found = video_depth_estimate(images, 2, k, "dis_fast", network, guess)
    torch.testing.assert_close(found.depth, network_depth(network, images[2], k))


def test_recording(shared_data: Path) -> None:
    # On real frames video depth beats one constant depth.
    source = Recording(shared_data / "rgbd" / "seven_scenes_60")
    clip = source.clip(3)
    tally, _ = measure_depth(clip, "dis_fast", None, torch.ones(240, 320))
    found = depth_report(tally)
    assert found["abs_rel"] < found["abs_rel_constant"]


def write_depth(path: Path, depth: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    path.parent.mkdir(exist_ok=True, parents=True)
    cv2.imwrite(str(path), depth.astype(np.uint16))


def test_depth_files(tmp_path: Path) -> None:
    # Half the true depth: right but for the scale; an array and an image are judged alike.
    depth = np.arange(1000, 5000, 100).reshape(5, 8)
    for name in ("a", "b", "unjudged"):
        write_depth(tmp_path / "truth" / "depth" / f"{name}.png", depth)
    write_depth(tmp_path / "found" / "a.png", depth / 2)
    np.save(tmp_path / "found" / "b.npy", depth / 2000)
    found = compare_folders(tmp_path / "truth", tmp_path / "found")
    assert list(found) == ["a", "b"]
    assert all(one.abs_rel < 1e-3 and one.scale == pytest.approx(2, rel=1e-3) for one in found.values())
    unscaled = compare_folders(tmp_path / "truth", tmp_path / "found", median_scaling=False)
    assert unscaled["b"].abs_rel == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.npy", b"junk", "a.npy: expected an array of depth"), ("z.png", b"", "expected depth named as in")],
)
def test_wrong_depth_files(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    write_depth(tmp_path / "truth" / "a.png", np.ones((4, 4)))
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        compare_folders(tmp_path / "truth", tmp_path / "found")
    np.save(tmp_path / "found" / "a.npy", np.ones((3, 3)))
    with pytest.raises(UserError, match=r"a.npy: expected an estimate, a truth"):
        compare_folders(tmp_path / "truth", tmp_path / "found")
