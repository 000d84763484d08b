"""The detector that ships: pixels vote, slots compete, slots of the frame before keep their place."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from detectors.carrying import carry_masks
from detectors.cue_backbone import CUES, CueBackbone, motion_channels
from detectors.errors import DetectorError
from detectors.slot_detector import PixelVotes, SlotDetector


def two_objects() -> PixelVotes:
    """Votes of a 16 x 24 map (32 x 48 pixels) with two squares of unlike looks."""
    objectness = torch.full((1, 16, 24), -6.0)
    middles = torch.stack(torch.meshgrid(torch.arange(24) * 2 + 1.0, torch.arange(16) * 2 + 1.0, indexing="xy"))[None]
    embedding = torch.zeros(1, 2, 16, 24)
    embedding[:, 0] = 1
    for k, columns in enumerate((slice(2, 8), slice(14, 20))):
        objectness[0, 4:10, columns] = 6.0
        middles[0, :, 4:10, columns] = torch.tensor([columns.start * 2 + 6.0, 14.0])[:, None, None]
        embedding[0, :, 4:10, columns] = torch.eye(2)[k][:, None, None]
    return PixelVotes(objectness, middles, torch.full((1, 16, 24), 1.0), embedding)


@pytest.fixture
def net() -> SlotDetector:
    torch.manual_seed(0)
    return SlotDetector(channels=(8, 8, 12, 12), dim=8, embedding=2, slots=6).eval()


def test_each_object_gets_one_slot(net: SlotDetector) -> None:
    slots = net.group(two_objects())
    assert len(slots) == 2 and (slots.presence > 0.9).all()
    for mask in slots.masks:
        assert sorted((mask > 0.5).any(0).nonzero().flatten().tolist()) in (list(range(2, 8)), list(range(14, 20)))
    assert sorted(slots.middles[:, 0].round().int().tolist()) == [10, 34]


def test_slots_of_the_frame_before_come_first_and_in_their_order(net: SlotDetector) -> None:
    right, left = torch.zeros(2, 16, 24)
    right[4:10, 15:21], left[4:10, 1:7] = 1, 1
    slots = net.group(two_objects(), previous=torch.stack([right, left]))
    assert slots.middles[:2, 0].round().int().tolist() == [34, 10] and len(slots) == 2
    gone = torch.zeros(16, 24)
    gone[12:15, 0:2] = 1
    slots = net.group(two_objects(), previous=torch.stack([gone, right]))
    assert len(slots) == 3 and slots.presence[0] < 0.3 < slots.presence[1], "nothing is left of the first"


def test_no_more_slots_than_asked_for(net: SlotDetector) -> None:
    net.slots = 1
    assert len(net.group(two_objects())) == 1


def test_nothing_to_be_seen_gives_no_slots(net: SlotDetector) -> None:
    votes = two_objects()
    empty = PixelVotes(torch.full_like(votes.objectness, -6.0), votes.middles, votes.log_scale, votes.embedding)
    slots = net.group(empty)
    assert len(slots) == 0 and slots.masks.shape == (0, 16, 24)


@pytest.mark.parametrize("size", [(32, 48), (33, 47), (16, 16)])
def test_any_size(net: SlotDetector, size: tuple[int, int]) -> None:
    image = torch.rand(3, *size)
    residual = torch.randn(2, *size)
    residual[:, :3] = torch.nan
    half = tuple(-(-side // 2) for side in size)
    votes = net(image[None], residual[None])
    assert votes.objectness.shape == (1, *half) and votes.middles.shape == (1, 2, *half)
    assert torch.allclose(votes.embedding.norm(dim=1), torch.ones(1, *half), atol=1e-4)
    slots = net.detect(image, residual)
    assert slots.masks.shape[1:] == half and slots.masks.isfinite().all() and bool((slots.masks.sum(0) <= 1.001).all())


def test_gradients_reach_every_weight(net: SlotDetector) -> None:
    votes = net(torch.rand(2, 3, 32, 32), torch.randn(2, 2, 32, 32))
    _, middles, looks = votes.rows(0)
    total = net.attention(middles, looks, middles[:3], looks[:3]).sum() + votes.objectness.sum()
    total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_attention_is_highest_for_its_own_place_and_looks(net: SlotDetector) -> None:
    _, middles, looks = two_objects().rows(0)
    pixel, other = 5 * 24 + 3, 5 * 24 + 15
    logs = net.attention(middles, looks, middles[[pixel]], looks[[pixel]])[0].detach()
    assert logs.max() == logs[pixel] == pytest.approx(0, abs=1e-5) and logs[other] < -5


def test_motion_channels_say_what_is_trusted_and_are_bounded() -> None:
    residual = 0.1 * torch.randn(2, 2, 20, 20, generator=torch.Generator().manual_seed(0))
    residual[0, :, :5, :5], residual[0, :, 10:, 10:] = torch.nan, 50.0
    residual[1] = torch.nan
    channels = motion_channels(residual, torch.zeros(2, 3, 20, 20))
    assert channels.shape == (2, CUES, 20, 20) and channels.isfinite().all() and channels.abs().max() < 5
    assert channels[0, 4, 0, 0] == 0 and channels[0, 4, 10, 10] == 1 and not channels[1].any()
    ratio = channels[0, :2].norm(dim=0)
    assert ratio[12, 12] > 2 > 4 * ratio[7, 7], "what moves stands out of the noise"
    assert not motion_channels(None, torch.zeros(1, 3, 8, 8)).any()


def test_the_noise_of_an_image_is_its_own() -> None:
    residual = torch.randn(1, 2, 24, 24, generator=torch.Generator().manual_seed(1))
    image = torch.zeros(1, 3, 24, 24)
    small, large = (motion_channels(residual * factor, image)[:, :2] for factor in (0.1, 0.3))
    assert torch.allclose(small, large, atol=1e-4)


def test_masks_are_carried_along_the_flow() -> None:
    masks = torch.zeros(1, 8, 8)
    masks[0, 2:4, 1:3] = 1
    flow = torch.zeros(2, 16, 16)
    flow[0] = -4.0  # everything came from 4 pixels to the left, which is 2 at the resolution of the masks
    carried = carry_masks(masks, flow)
    assert torch.allclose(carried[0, 2:4, 3:5], torch.ones(2, 2)) and carried.sum() == pytest.approx(4)
    flow[0] = -100.0
    assert not carry_masks(masks, flow).any()
    assert carry_masks(masks[:0], flow).shape == (0, 8, 8)


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.detect(torch.rand(1, 3, 32, 32)),
        lambda net: net(torch.rand(1, 3, 32, 32), torch.rand(1, 2, 16, 16)),
        lambda net: net.detect(torch.rand(3, 32, 32), previous=torch.ones(16, 16)),
        lambda net: CueBackbone((8, 8), 8)(torch.rand(3, 32, 32)),
        lambda net: carry_masks(torch.rand(4, 4), torch.rand(2, 4, 4)),
    ],
)
def test_a_wrong_shape_is_said_in_one_sentence(net: SlotDetector, call) -> None:
    with pytest.raises(DetectorError, match="expected"):
        call(net)


def test_still_objects_are_taken_from_the_image_alone(net: SlotDetector) -> None:
    def votes(level: float) -> PixelVotes:
        one = two_objects()
        return PixelVotes(torch.full_like(one.objectness, level), one.middles + level, one.log_scale, one.embedding)

    moving, still = votes(1.0), votes(3.0)
    assert torch.equal(moving.stronger(still).middles, still.middles)
    both: Tensor = moving.stronger(still, handicap=2.5).objectness
    assert torch.equal(both, moving.objectness) and torch.equal(moving.stronger(still, 2.5).middles, moving.middles)
