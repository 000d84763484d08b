"""Depth everywhere from depth that is sure in places."""

from __future__ import annotations

import torch

from geometry.completion import complete_depth
from geometry.triangulation import VideoDepth

IMAGE, K = torch.rand(3, 32, 40), torch.tensor([[40.0, 0, 20], [0, 40.0, 16], [0, 0, 1]])
TRUTH = 2 + torch.arange(40.0).expand(32, 40) / 10


def found(share: float) -> VideoDepth:
    """The truth in the left part of the image."""
    known = torch.zeros(32, 40)
    known[:, : int(40 * share)] = 0.95
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
