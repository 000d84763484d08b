"""Depth everywhere from depth that is sure in places."""

from __future__ import annotations

import pytest
import torch

from geometry.completion import FLAT, GUESS_ERROR, complete_depth, fill_depth
from geometry.errors import GeometryError
from geometry.triangulation import PRIOR, VideoDepth

IMAGE, K = torch.rand(3, 32, 40), torch.tensor([[40.0, 0, 20], [0, 40.0, 16], [0, 0, 1]])
TRUTH = 2 + torch.arange(40.0).expand(32, 40) / 10


def found(share: float) -> VideoDepth:
    """The truth in the left part of the image."""
    known = torch.zeros(32, 40)
    known[:, : int(40 * share)] = 0.98
    return VideoDepth(TRUTH * (known > 0), known, torch.eye(4)[None], 1.0, 0.1)


class Guess:
    """Says how it was asked."""

    def __init__(self) -> None:
        self.told: torch.Tensor | None = None

    def __call__(self, image: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
        return 5 * TRUTH[None, None]

    def complete(self, image: torch.Tensor, intrinsics: torch.Tensor, depth: torch.Tensor, confidence: torch.Tensor):
        self.told = depth
        return 3 * TRUTH[None, None]


def test_a_network_that_completes_is_told_what_is_known() -> None:
    guess = Guess()
    depth = complete_depth(found(0.5), IMAGE, K, guess)
    assert guess.told is not None and torch.equal(guess.told[0, 0], found(0.5).depth)
    assert (depth / TRUTH - 1).abs().max() < 0.01, "in the scale of what is known"


def test_without_anything_known_it_is_the_networks_depth() -> None:
    guess = Guess()
    assert torch.equal(complete_depth(found(0), IMAGE, K, guess), 5 * TRUTH)
    assert guess.told is None


def test_triangulation_that_contradicts_the_network_is_not_believed() -> None:
    # The network's own depth then, in the scale of what was found.
    wrong = found(0.5)
    waves = torch.exp(3 * torch.sin(torch.arange(40.0) * 2)).expand(32, 40)
    wrong = VideoDepth(wrong.depth * waves, wrong.confidence, wrong.target_from_reference, 1.0, 0.1)
    depth = complete_depth(wrong, IMAGE, K, lambda image, intrinsics: 5 * TRUTH[None, None])
    ratio = depth / TRUTH
    assert ratio.std() < 1e-4 and 0.1 < float(ratio.mean()) < 10


def test_any_function_will_do() -> None:
    # A constant guess keeps what is sure, and is bent towards it beyond.
    depth = complete_depth(found(0.5), IMAGE, K, lambda image, intrinsics: torch.ones(1, 1, 32, 40))
    assert (depth[:, :18] / TRUTH[:, :18] - 1).abs().max() < 0.1
    assert depth.min() > 0


def test_confidence_adds_up() -> None:
    # What is known and what is guessed, by the network or by nothing at all, in odds.
    sure = found(0.5).confidence
    known, own = sure > 0, (PRIOR / GUESS_ERROR) ** 2
    for estimator, odds in ((Guess(), own), (None, FLAT / (1 - FLAT))):
        depth, confidence = fill_depth(found(0.5).depth, sure, IMAGE, K, estimator)
        total = confidence / (1 - confidence)
        assert torch.allclose(total[~known], torch.tensor(odds)) and torch.allclose(
            total[known], 49 + total[0, -1], rtol=1e-3
        )
        assert (depth > 0).all()


def test_a_network_is_told_what_is_much_surer_or_measured() -> None:
    sure = found(0.5).confidence
    guess = Guess()
    fill_depth(found(0.5).depth, 0.9 * sure, IMAGE, K, guess)
    assert guess.told is None
    fill_depth(found(0.5).depth, 0.9 * sure, IMAGE, K, guess, doubt=False)
    assert guess.told is not None and torch.equal(guess.told[0, 0], found(0.5).depth)
    sure[sure > 0] = 0.98
    sure[:16] *= 0.9
    fill_depth(found(0.5).depth, sure, IMAGE, K, guess)
    assert not guess.told[0, 0, :16].any()
    assert torch.equal(guess.told[0, 0, 16:], found(0.5).depth[16:])


def test_what_contradicts_the_network_may_be_measured() -> None:
    # Then it is believed; else it also loses its confidence.
    waves = TRUTH * torch.exp(3 * torch.sin(torch.arange(40.0) * 2))
    known = torch.full((32, 40), 0.99)
    depth, confidence = fill_depth(waves, known, IMAGE, K, Guess(), doubt=False)
    assert (confidence > known).all() and float((depth / waves).log().abs().median()) < 0.1
    depth, confidence = fill_depth(waves, known, IMAGE, K, Guess())
    assert (depth / TRUTH).std() < 1e-4 and (confidence < known).all()


def test_a_network_of_another_resolution_is_refused() -> None:
    with pytest.raises(GeometryError, match="from the network"):
        complete_depth(found(0.5), IMAGE, K, lambda image, intrinsics: torch.ones(1, 1, 16, 20))


def test_a_network_may_see_a_smaller_image() -> None:
    # With the intrinsics of it; what is known is averaged by its confidence, and its answer is enlarged.
    seen = []

    class Small:
        def __call__(self, image: torch.Tensor, intrinsics: torch.Tensor) -> torch.Tensor:
            seen.append((tuple(image.shape), intrinsics))
            return torch.full((1, 1, 16, 20), 5.0)

        def complete(self, image: torch.Tensor, intrinsics: torch.Tensor, depth: torch.Tensor, sure: torch.Tensor):
            seen.append((depth, sure))
            return torch.full((1, 1, 16, 20), 4.0)

    part = found(0.5)
    sparse = part.confidence * (torch.arange(32) % 2)[:, None]
    depth, _ = fill_depth(part.depth, sparse, IMAGE, K, Small(), shrink=2)
    assert depth.shape == (32, 40)
    assert seen[0][0] == (1, 3, 16, 20) and torch.equal(seen[0][1][0, :2], K[:2] / 2)
    told, sure = seen[1]
    torch.testing.assert_close(told[0, 0, :, :10], (TRUTH[::2, :20:2] + TRUTH[::2, 1:20:2]) / 2)
    torch.testing.assert_close(sure[0, 0, :, :10], torch.full((16, 10), 0.49))
