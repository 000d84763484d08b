"""Slot attention and the predictor of slots."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import layer_norm, softmax

from detectors.errors import DetectorError
from detectors.slot_attention import (
    FOURIER,
    SlotAttention,
    SlotPredictor,
    fourier_features,
    grid_centres,
    grid_positions,
)

INITS = ("learned", "random", "grid")


def features(batch: int = 2, count: int = 12, dim: int = 6) -> torch.Tensor:
    return torch.randn(batch, count, dim, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_positions_run_row_by_row() -> None:
    torch.testing.assert_close(grid_positions(1, 2), torch.tensor([[0.25, 0.5], [0.75, 0.5]]))
    torch.testing.assert_close(grid_positions(2, 1), torch.tensor([[0.5, 0.25], [0.5, 0.75]]))
    assert fourier_features(grid_positions(3, 4)).shape == (12, FOURIER)


@pytest.mark.parametrize("count", [1, 2, 7, 9, 10])
def test_grid_covers_the_image(count: int) -> None:
    # As many points as asked, symmetric about the centre from left to right, none on another.
    centres = grid_centres(count)
    assert centres.shape == (count, 2) and (centres > 0).all() and (centres < 1).all()
    assert float(centres[:, 0].mean()) == pytest.approx(0.5)
    assert len(centres.unique(dim=0)) == count


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("heads", [1, 2])
def test_attention_is_shared_among_slots(init: str, heads: int) -> None:
    module = SlotAttention(6, dim=8, slots=5, init=init, heads=heads, input_hidden=10, embed_positions=True)
    slots, attention = module(features(), positions=grid_positions(3, 4))
    assert slots.shape == (2, 5, 8) and attention.shape == (2, 5, 12)
    torch.testing.assert_close(attention.sum(1), torch.ones(2, 12))
    # The slots differ from the first frame on, whatever the start.
    assert (slots[:, 1:] - slots[:, :-1]).abs().amax(-1).min() > 1e-3


def test_one_iteration_by_the_equations() -> None:
    """Softmax over slots, mean over inputs, GRU with the slots as they are (not their layer norm), residual MLP."""
    module = SlotAttention(6, dim=8, slots=3)
    x, old = features(), 5 * torch.randn(2, 3, 8)
    keys, values = module.key_value(module.input(x)).chunk(2, -1)
    normalised = layer_norm(old, (8,))  # weights 1 and biases 0 at the start
    logits = (normalised @ module.query[1].weight.T) @ keys.transpose(1, 2) / 8**0.5
    attention = softmax(logits, 1)
    weights = (attention + 1e-8) / (attention + 1e-8).sum(2, keepdim=True)
    update = weights @ values
    new = torch.stack([module.gru(u, s) for u, s in zip(update, old)])
    new = new + module.mlp(new)
    slots, found = module(x, old, iterations=1)
    torch.testing.assert_close(slots, new)
    torch.testing.assert_close(found, attention)


def test_heads_compete_in_one_softmax() -> None:
    module = SlotAttention(6, dim=8, slots=3, heads=2)
    x, old = features(), torch.randn(2, 3, 8)
    keys = module.key_value(module.input(x)).chunk(2, -1)[0]
    query = module.query(old)
    halves = [query[..., h] @ keys[..., h].transpose(1, 2) / 2 for h in (slice(0, 4), slice(4, 8))]
    expected = softmax(torch.cat(halves, 1), 1).unflatten(1, (2, 3)).sum(1)
    torch.testing.assert_close(module(x, old, iterations=1)[1], expected)


def test_iterations_add_up() -> None:
    # Three iterations are one and then two more from its slots; that is how a video goes on.
    module = SlotAttention(6, dim=8, slots=3)
    x = features()
    whole, attention = module(x)
    half, _ = module(x, iterations=1)
    rest, same = module(x, half, iterations=2)
    torch.testing.assert_close(whole, rest)
    torch.testing.assert_close(attention, same)


@pytest.mark.parametrize("init", INITS)
def test_order_of_given_slots_does_not_matter(init: str) -> None:
    # Any number of them, too: a tracker keeps as many as it likes.
    module = SlotAttention(6, dim=8, slots=4, init=init)
    x, old, order = features(), torch.randn(2, 7, 8), torch.randperm(7)
    slots, attention = module(x, old)
    permuted, shares = module(x, old[:, order])
    torch.testing.assert_close(slots[:, order], permuted)
    torch.testing.assert_close(attention[:, order], shares)


def test_grid_slots_start_where_they_stand() -> None:
    """With features that say nothing, each slot's attention is centred on its own point; the background's is not."""
    module = SlotAttention(6, dim=8, slots=5, init="grid", prior_width=0.15).eval()
    positions = grid_positions(16, 16)
    with torch.no_grad():
        module.query[1].weight.zero_()
    _, attention = module(torch.zeros(1, 256, 6), positions=positions, iterations=1)
    means = attention[0] @ positions / attention[0].sum(1, keepdim=True)
    assert (means[1:] - grid_centres(4)).abs().max() < 0.1
    torch.testing.assert_close(means[0], torch.tensor([0.5, 0.5]), atol=1e-4, rtol=0)


def test_prior_holds_for_the_first_iterations_only() -> None:
    short = SlotAttention(6, dim=8, slots=5, init="grid").eval()
    long = SlotAttention(6, dim=8, slots=5, init="grid", prior_iterations=3).eval()
    long.load_state_dict(short.state_dict())
    x, positions = features(1, 256), grid_positions(16, 16)

    def spread(module: SlotAttention) -> float:
        attention = module(x, positions=positions)[1][0, 1:].detach()
        distance = (positions - grid_centres(4)[:, None]).square().sum(-1)
        return float((attention * distance).sum() / attention.sum())

    assert spread(long) < spread(short)


def test_jitter_only_in_training() -> None:
    module = SlotAttention(6, dim=8, slots=5, init="grid")
    a, b = (module.initial_slots(1, torch.Generator().manual_seed(s))[1] for s in (0, 1))
    assert (a - b)[:, 1:].abs().max() > 0.01 and a[:, 0].isnan().all()
    assert (a[0, 1:] - grid_centres(4)).abs().max() <= 0.3 / 2
    module.eval()
    torch.testing.assert_close(module.initial_slots(1)[1][0, 1:], grid_centres(4))


def test_centres_lead_given_slots() -> None:
    """Two equal slots take the sides of the image at which the tracker expects them; one without goes nowhere."""
    module = SlotAttention(6, dim=8)
    positions, x = grid_positions(4, 8), torch.zeros(1, 32, 6)
    centres = torch.tensor([[[0.2, 0.5], [0.8, 0.5], [torch.nan, torch.nan]]])
    _, attention = module(x, torch.ones(1, 3, 8), positions, 1, centres)
    mean_x = (attention[0] @ positions / attention[0].sum(1, keepdim=True))[:, 0]
    assert mean_x[0] < 0.4 and mean_x[1] > 0.6 and mean_x[2].item() == pytest.approx(0.5, abs=1e-4)


def test_random_start_follows_its_generator() -> None:
    module = SlotAttention(6, dim=8, slots=4, init="random")
    a, b, c = (module(features(), generator=torch.Generator().manual_seed(s))[0] for s in (0, 0, 1))
    assert torch.equal(a, b) and not torch.equal(a, c)


@pytest.mark.parametrize("init", INITS)
def test_everything_learns(init: str) -> None:
    module = SlotAttention(6, dim=8, slots=4, init=init, input_hidden=5, embed_positions=True)
    slots, attention = module(features(), positions=grid_positions(3, 4))
    (slots.square().sum() + attention.square().sum()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_gradients() -> None:
    module = SlotAttention(3, dim=4, slots=2, iterations=2, heads=2, slot_hidden=3).double()
    x = torch.randn(1, 5, 3, dtype=torch.float64, requires_grad=True)
    old = torch.randn(1, 2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, old: module(x, old), (x, old))


def test_slots_bind_to_two_colours() -> None:
    """A few steps of training on reconstruction by the attention split an image of two colours in two."""
    image = torch.zeros(1, 16, 3)
    image[:, ::3, 0], image[:, 1::3, 1], image[:, 2::3, 1] = 1, 1, 1
    module, out = SlotAttention(3, dim=16, slots=2), torch.nn.Linear(16, 3)
    optimiser = torch.optim.Adam([*module.parameters(), *out.parameters()], 1e-2)
    for _ in range(60):
        slots, attention = module(image)
        loss = (attention.transpose(1, 2) @ out(slots) - image).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    labels = attention[0].argmax(0)
    assert (labels == labels[0]).tolist() == [i % 3 == 0 for i in range(16)]


def test_mistakes_are_said_in_a_sentence() -> None:
    with pytest.raises(DetectorError, match="learned, random, grid"):
        SlotAttention(6, init="zeros")
    with pytest.raises(DetectorError, match="3 heads"):
        SlotAttention(6, dim=8, heads=3)
    with pytest.raises(DetectorError, match="too few"):
        SlotAttention(6, slots=1, init="grid")
    with pytest.raises(DetectorError, match="positions"):
        SlotAttention(6, dim=8, init="grid")(features())
    with pytest.raises(DetectorError, match="at least one iteration"):
        SlotAttention(6, dim=8)(features(), iterations=0)
    with pytest.raises(DetectorError, match="4 heads"):
        SlotPredictor(6)


@pytest.mark.parametrize("training", [True, False])
def test_predictor_keeps_the_order_of_slots(training: bool) -> None:
    predictor = SlotPredictor(8).train(training)
    slots, order = torch.randn(2, 5, 8), torch.randperm(5)
    with torch.set_grad_enabled(training):
        moved = predictor(slots)
        assert moved.shape == slots.shape and not torch.allclose(moved, slots)
        torch.testing.assert_close(predictor(slots[:, order]), moved[:, order])


def test_predictor_looks_at_other_slots() -> None:
    predictor, slots = SlotPredictor(8), torch.randn(1, 3, 8, requires_grad=True)
    predictor(slots)[:, 0].square().sum().backward()
    assert slots.grad is not None and slots.grad[:, 1:].abs().sum() > 0
