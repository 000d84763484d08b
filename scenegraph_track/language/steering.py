"""What a sentence does for a target that is followed: it is found by it, and looked for by it when it is lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.language.reading import Place, Reader

_SIZES = 4.0
"""Times that the area of a place may be smaller or larger than that of the target."""

_APART = 0.3
"""IoU from which a place is where the target is anyway."""


@dataclass(frozen=True)
class Guide:
    """A sentence, and when it is believed.

    Args:
        reader: Sees and reads.
        text: The sentence.
        sure: Least probability that it is true of a place, for the target to be there.
        surely: The same, for a target that has been found before to be looked for there.
        doubt: Probability below which what is followed is doubted, where the sentence is surely true elsewhere.
        wrong: Probability below which something that the sentence alone has found is left for something better.
        every: Frames between two looks.
    """

    reader: Reader
    text: str
    sure: float = 0.5
    surely: float = 0.9
    doubt: float = 0.05
    wrong: float = 0.3
    every: int = 3

    def first(self, image: Tensor, detected: NDArray | None = None, before: Tensor | None = None) -> Place | None:
        """Where the target is, if it is there at all.

        Args:
            image: (3, H, W).
            detected: (K, 4) boxes that it may have; None or none: any.
            before: The image one frame earlier, if it is at hand.
        """
        if not self.reader.tells(self.text):
            return None
        look = self.reader.look(image, before)
        if detected is not None and len(detected):
            scores = self.reader.scores(look, self.text, detected)
            best = int(scores.argmax())
            return (
                Place(np.asarray(detected[best], np.float64), float(scores[best]))
                if scores[best] >= self.sure
                else None
            )
        places = self.reader.places(look, self.text)
        return places[0] if places and places[0].score >= self.sure else None

    def elsewhere(self, image: Tensor, box: NDArray[np.float64], before: Tensor | None = None) -> Place | None:
        """Another place of which the sentence is rather true than of what is followed; None: there is none.

        Args:
            image: (3, H, W) of this frame.
            box: (4,) what is followed, in the frame before.
            before: The image one frame earlier, if it is at hand.
        """
        look = self.reader.look(image, before)
        places = self.reader.places(look, self.text)
        if not places or places[0].score < max(self.sure, 1 - self.wrong):
            return None
        own = float(self.reader.scores(look, self.text, box[None])[0])
        return places[0] if own < self.wrong and _overlap(places[0].box, box) < _APART else None

    def steered(
        self, image: Tensor, boxes: NDArray[np.float64], lost: Sequence[int], number: int, before: Tensor | None = None
    ) -> NDArray[np.float64]:
        """Boxes round which targets are to be looked for: where the sentence is true, for those that are lost.

        A target that is followed is moved too where the sentence is hardly true of it and surely of another place.

        Args:
            image: (3, H, W) of this frame.
            boxes: (N, 4) in the frame before.
            lost: N numbers of frames without the target.
            number: Of the frame.
            before: The image one frame earlier, if it is at hand.
        """
        if number % self.every or not len(boxes) or not self.reader.tells(self.text):
            return boxes
        look = self.reader.look(image, before)
        places = [place for place in self.reader.places(look, self.text) if place.score >= max(self.sure, self.surely)]
        if not places:
            return boxes
        own = self.reader.scores(look, self.text, boxes)
        moved = boxes.copy()
        for row, box in enumerate(boxes):
            there = next((place for place in places if _alike(place.box, box)), None)
            if there is None or _overlap(there.box, box) > _APART:
                continue
            if lost[row] or (own[row] < self.doubt and there.score > 1 - self.doubt):
                half = (box[2:] - box[:2]) / 2
                middle = (there.box[:2] + there.box[2:]) / 2
                moved[row] = np.concatenate([middle - half, middle + half])
        return moved


def _alike(place: NDArray, box: NDArray) -> bool:
    ratio = _area(place) / max(_area(box), 1e-6)
    return 1 / _SIZES <= ratio <= _SIZES


def _overlap(one: NDArray, other: NDArray) -> float:
    both = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None).prod()
    return float(both / max(_area(one) + _area(other) - both, 1e-6))


def _area(box: NDArray) -> float:
    return float(np.clip(box[2:] - box[:2], 0, None).prod())
