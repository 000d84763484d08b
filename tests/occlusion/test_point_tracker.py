"""Points followed through a stream."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.occlusion.point_net import PointNet, Supposed
from scenegraph_track.occlusion.point_tracker import PointState, PointTracker, PointTracks, gather

QUERIES = torch.tensor([[0.0, 20.0, 15.0], [3.0, 40.0, 30.0], [0.0, 33.0, 21.0]])


def streamed(tracker: PointTracker, images: list[Tensor]) -> list[PointTracks]:
    """What every step tells, with `QUERIES` added in the order of their frames: 0, 2, 1."""
    state, found = tracker.start(), []
    for number, image in enumerate(images):
        state, tracks = tracker.step(state, image, QUERIES[QUERIES[:, 0] == number, 1:])
        found.append(tracks)
    return [*found, tracker.finish(state)[1]]


def elements(state: PointState) -> int:
    """Numbers in all tensors of a state."""
    values = [state.image, *state.features, *state.flows, state.queries, state.looks, *(state.supposed or ())]
    return sum(value.numel() for value in values if isinstance(value, Tensor))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_streaming_equals_a_whole_video(net: PointNet, moving: list[Tensor], stride: int) -> None:
    tracker = PointTracker(net, stride)
    found = streamed(tracker, moving)
    assert [tracks is not None for tracks in found[:-1]] == [(k + 1) % stride == 0 for k in range(len(moving))]
    whole = tracker.track(moving, QUERIES)
    told = gather([tracks for tracks in found if tracks is not None], torch.tensor([0, 2, 1]))
    assert torch.equal(whole.visibility, told.visibility) and torch.equal(whole.confidence, told.confidence)
    assert torch.equal(whole.positions.nan_to_num(-1), told.positions.nan_to_num(-1))


def test_points_that_are_added_later(net: PointNet, moving: list[Tensor]) -> None:
    # Nothing before, exactly there and seen where they are given, something ever after.
    tracks = PointTracker(net).track(moving, QUERIES)
    assert tracks.positions.shape == (3, len(moving), 2)
    assert tracks.positions[1, :3].isnan().all() and tracks.positions[1, 3:].isfinite().all()
    assert (tracks.visibility[1, :3] == 0).all() and (tracks.confidence[1, :3] == 0).all()
    assert torch.allclose(tracks.positions[[0, 1, 2], [0, 3, 0]], QUERIES[:, 1:], atol=1e-4)
    assert (tracks.visibility[[0, 1, 2], [0, 3, 0]] == 1).all() and tracks.visible[1, 3]


def test_without_corrections_points_go_with_the_flow(net: PointNet, moving: list[Tensor]) -> None:
    # Over windows: what is carried from one to the next is not lost.  The texture moves by (2, 1).
    torch.nn.init.zeros_(net.move.weight)
    for stride in (1, 2):
        tracks = PointTracker(net, stride).track(moving, QUERIES)
        steps = torch.arange(len(moving)) - QUERIES[:, :1]
        truth = QUERIES[:, None, 1:] + steps[..., None] * torch.tensor([2.0, 1.0])
        inside = (steps >= 0) & (truth[..., 0] < 60) & (truth[..., 1] < 44)
        assert (tracks.positions - truth).norm(dim=-1)[inside].max() < 1.5
    by_looks = PointTracker(net, flow="none").track(moving, QUERIES).positions
    assert (by_looks - truth).norm(dim=-1)[inside].max() < 0.2  # templates find the small steps by themselves


def test_the_state_does_not_grow(net: PointNet, moving: list[Tensor]) -> None:
    tracker = PointTracker(net)
    state, sizes = tracker.start(), []
    for number, image in enumerate(moving + moving[::-1]):
        state, _ = tracker.step(state, image, QUERIES[:, 1:] if number == 0 else None)
        sizes.append(elements(state))
    assert len(set(sizes[net.settings.window :])) == 1
    assert state.queries.shape == (3, 3) and len(state.features) == net.settings.window


def test_large_images_are_reduced_and_positions_are_not(net: PointNet, moving: list[Tensor]) -> None:
    tracker = PointTracker(net, longest=32)
    torch.nn.init.zeros_(net.move.weight)
    state, _ = tracker.step(tracker.start(), moving[0], QUERIES[:, 1:])
    assert state.image is not None and state.image.shape == (3, 24, 32) and state.size == (64, 48)
    assert torch.allclose(state.queries[:, 1:], QUERIES[:, 1:] / 2)
    found = tracker.track(moving[:6], QUERIES[:1]).positions[0, -1]
    assert (found - torch.tensor([30.0, 20.0])).norm() < 2.5


def test_floats_and_bytes_are_the_same(net: PointNet, moving: list[Tensor]) -> None:
    tracker = PointTracker(net)
    found = [tracker.track(images, QUERIES).visibility for images in (moving, [one.float() / 255 for one in moving])]
    assert torch.equal(*found)


def test_points_that_are_kept_go_on_as_before(net: PointNet, moving: list[Tensor]) -> None:
    # The number of points changes nothing but what they exchange.
    tracker = PointTracker(net)
    state, _ = tracker.step(tracker.start(), moving[0], QUERIES[:, 1:])
    state, _ = tracker.step(state, moving[1])
    kept = tracker.keep(state, torch.tensor([0, 2]))
    assert torch.equal(kept.queries, state.queries[[0, 2]]) and isinstance(kept.supposed, Supposed)
    assert state.supposed is not None and torch.equal(kept.supposed.positions, state.supposed.positions[:, [0, 2]])
    kept, _ = tracker.step(kept, moving[2])
    _, tracks = tracker.step(kept, moving[3])
    assert tracks is not None and tracks.positions.shape == (2, 4, 2)


def test_a_video_without_points_and_one_without_frames(net: PointNet, moving: list[Tensor]) -> None:
    tracker = PointTracker(net)
    assert tracker.track(moving, torch.zeros(0, 3)).positions.shape[0] == 0
    assert tracker.track([], torch.zeros(0, 3)).positions.shape == (0, 0, 2)


def test_one_sentence(net: PointNet, moving: list[Tensor]) -> None:
    tracker = PointTracker(net)
    with pytest.raises(UserError, match=r"points: expected x, y inside 64 x 48, found 70, 3$"):
        tracker.step(tracker.start(), moving[0], torch.tensor([[1.0, 2.0], [70.0, 3.0]]))
    with pytest.raises(UserError, match=r"inside 64 x 48, found nan, 3$"):
        tracker.step(tracker.start(), moving[0], torch.tensor([[torch.nan, 3.0]]))
    with pytest.raises(UserError, match="expected frames of 64 x 48 pixels, found 60 x 48"):
        tracker.track([moving[0], moving[1][:, :, :60]], QUERIES[:1])
    with pytest.raises(UserError, match="queries: expected frames 0 to 2, 1 name others"):
        tracker.track(moving[:3], QUERIES)
    with pytest.raises(UserError, match="stride: expected 1 to 3, found 4"):
        PointTracker(net, stride=4)
