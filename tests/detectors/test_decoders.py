"""Decoders of slots."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from detectors.decoders import BroadcastDecoder, MaskDecoder, SlotMixerDecoder
from detectors.errors import DetectorError
from detectors.slot_attention import fourier_features, grid_positions

DECODERS = {
    "mask": lambda: MaskDecoder(8, 6, dim_out=5),
    "broadcast": lambda: BroadcastDecoder(8, 5, hidden=16),
    "mixer": lambda: SlotMixerDecoder(8, 5, hidden=16, blocks=2),
}


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.mark.parametrize("name", DECODERS)
def test_shapes_and_masks(name: str) -> None:
    # Masks sum to 1; slots in another order give the masks in that order and the same reconstruction.
    decoder, slots, features, order = DECODERS[name](), torch.randn(2, 4, 8), torch.randn(2, 12, 6), torch.randperm(4)
    reconstruction, masks = decoder(slots, features=features, positions=grid_positions(3, 4))
    assert reconstruction.shape == (2, 12, 5) and masks.shape == (2, 4, 12)
    assert (masks >= 0).all()
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 12))
    again, permuted = decoder(slots[:, order], features=features, positions=grid_positions(3, 4))
    torch.testing.assert_close(permuted, masks[:, order])
    torch.testing.assert_close(again, reconstruction)


@pytest.mark.parametrize("name", DECODERS)
def test_all_parameters_learn_and_slots_get_gradients(name: str) -> None:
    decoder, slots = DECODERS[name](), torch.randn(2, 4, 8, requires_grad=True)
    reconstruction, masks = decoder(slots, features=torch.randn(2, 12, 6), positions=grid_positions(3, 4))
    (reconstruction.square().sum() + masks.square().sum()).backward()
    assert slots.grad is not None and slots.grad.abs().sum() > 0
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in decoder.parameters())


@pytest.mark.parametrize("name", DECODERS)
def test_gradients(name: str) -> None:
    decoder = DECODERS[name]().double()
    slots = torch.randn(1, 2, 8, dtype=torch.float64, requires_grad=True)
    features, positions = torch.randn(1, 2, 6, dtype=torch.float64), grid_positions(1, 2)
    assert torch.autograd.gradcheck(lambda s: decoder(s, features=features, positions=positions), (slots,))


def test_mask_decoder_by_its_formula() -> None:
    decoder, slots, features = MaskDecoder(8, 6), torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    reconstruction, masks = decoder(slots, features)
    logits = torch.einsum("bkd,bnd->bkn", slots @ decoder.project.weight.T, features) / 6**0.5
    torch.testing.assert_close(masks, logits.softmax(1))
    assert reconstruction is None


def test_low_temperature_decides() -> None:
    slots, features = torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    soft, hard = MaskDecoder(8, 6), MaskDecoder(8, 6, temperature=0.01)
    hard.load_state_dict(soft.state_dict())
    assert hard(slots, features)[1].amax(1).mean() > 0.95 > soft(slots, features)[1].amax(1).mean()


@pytest.mark.parametrize("layers", [1, 3])
def test_broadcast_decoder_is_the_plain_one(layers: int) -> None:
    """One MLP over the slot beside the position, and its outputs mixed by alpha, as in DINOSAUR."""
    decoder, slots, positions = BroadcastDecoder(8, 5, 16, layers), torch.randn(2, 3, 8), grid_positions(2, 2)
    where = fourier_features(positions)
    both = torch.cat([slots[:, :, None].expand(-1, -1, 4, -1), where.expand(2, 3, -1, -1)], -1)
    x = both @ torch.cat([decoder.slot.weight, decoder.position.weight], 1).T + decoder.slot.bias
    linear = [layer for layer in decoder.hidden if isinstance(layer, nn.Linear)]
    assert len(linear) == layers - 1
    for layer in linear:
        x = layer(x.relu())
    x = x.relu()
    alpha = decoder.alpha(x).softmax(1)
    reconstruction, masks = decoder(slots, positions=positions)
    torch.testing.assert_close(masks, alpha.squeeze(-1))
    torch.testing.assert_close(reconstruction, (alpha * decoder.out(x)).sum(1))


@pytest.mark.parametrize("name", ["broadcast", "mixer"])
def test_finer_grids_show_the_same(name: str) -> None:
    # The positions are continuous: the same place has the same mask whatever other places are asked for.
    decoder, slots = DECODERS[name](), torch.randn(1, 4, 8)
    odd = grid_positions(3, 3)
    fine = grid_positions(9, 9)
    same = [int((fine - p).abs().sum(-1).argmin()) for p in odd]
    torch.testing.assert_close(decoder(slots, positions=odd)[1], decoder(slots, positions=fine)[1][..., same])


@pytest.mark.parametrize("name", ["broadcast", "mixer"])
def test_learns_two_halves(name: str) -> None:
    """Trained to show one slot's colour left and the other's right, the masks are the halves."""
    decoder, slots, positions = DECODERS[name](), torch.eye(2, 8)[None], grid_positions(4, 4)
    right = (positions[:, 0] > 0.5).float()
    target = torch.stack([right, 1 - right, right, right, 1 - right], -1)[None]
    optimiser = torch.optim.Adam(decoder.parameters(), 1e-2)
    for _ in range(60):
        reconstruction, _ = decoder(slots, positions=positions)
        loss = (reconstruction - target).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.02


def test_what_is_missing_is_said() -> None:
    slots = torch.randn(1, 2, 8)
    with pytest.raises(DetectorError, match="needs features"):
        MaskDecoder(8, 6)(slots)
    for name in ("broadcast", "mixer"):
        with pytest.raises(DetectorError, match="needs positions"):
            DECODERS[name]()(slots)
    with pytest.raises(DetectorError, match="3 heads"):
        SlotMixerDecoder(8, 5, heads=3)
