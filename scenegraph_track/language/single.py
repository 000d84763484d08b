"""Following one target through a video by a sentence, or by a sentence and its box in the first frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.language.steering import Guide
from scenegraph_track.target.followed import Followed
from scenegraph_track.target.single import SingleTracker


@dataclass(frozen=True, eq=False)
class TextFollowed:
    """What is carried from frame to frame.

    Args:
        target: Of the target model; None before the target is found.
        before: The image of this frame, (3, H, W) uint8.
        number: Of the frame, from 0.
    """

    target: Followed | None
    before: Tensor
    number: int


@dataclass(frozen=True)
class TextTracker:
    """Follows what a sentence means; holds no state of a video.

    Args:
        tracker: Follows by target models.
        guide: The sentence.
        told: Whether the box of the first frame is told (NL+BBox); else the sentence finds it (NL).
    """

    tracker: SingleTracker
    guide: Guide
    told: bool

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> TextFollowed:
        """The state after the first frame.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) xyxy pixels; not looked at where it is not told.
        """
        pixels = _pixels(image)
        if self.told:
            return TextFollowed(self.tracker.start(image, box), pixels, 0)
        return TextFollowed(self._begun(image, pixels, None), pixels, 0)

    def first_box(self, state: TextFollowed) -> NDArray[np.float64] | None:
        """The box (4,) in the first frame, None where the target was not found in it."""
        return None if state.target is None else state.target.boxes[0].double().numpy()

    def step(
        self, state: TextFollowed, image: NDArray[np.uint8]
    ) -> tuple[TextFollowed, NDArray[np.float64] | None, float]:
        """The next frame; see `SingleTracker.step`.  What has not been found yet is looked for by the sentence."""
        pixels, number, target = _pixels(image), state.number + 1, state.target
        if target is None:
            target = self._begun(image, pixels, state.before) if number % self.guide.every == 0 else None
            box = None if target is None else target.boxes[0].double().numpy()
            return TextFollowed(target, pixels, number), box, 0.0 if target is None else 1.0
        if not self.told and number % self.guide.every == 0:
            there = self.guide.elsewhere(pixels, target.boxes[0].double().numpy(), state.before)
            if there is not None:
                return TextFollowed(self.tracker.start(image, there.box), pixels, number), there.box, 1.0
        boxes = self.guide.steered(pixels, target.boxes.double().numpy(), target.lost, number, state.before)
        target, box, score = self.tracker.step(replace(target, boxes=torch.from_numpy(boxes).float()), image)
        return TextFollowed(target, pixels, number), box, score

    def _begun(self, image: NDArray[np.uint8], pixels: Tensor, before: Tensor | None) -> Followed | None:
        place = self.guide.first(pixels, before=before)
        return None if place is None else self.tracker.start(image, place.box)


def _pixels(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
