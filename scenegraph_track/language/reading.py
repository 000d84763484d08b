"""A trained language network and what people ask it: where is what a sentence means, and which of these boxes is it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from geometry import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.language.embedded import language_network
from scenegraph_track.language.network import LanguageNetwork, Seen
from scenegraph_track.language.vocabulary import ASPECTS, Tokenizer

PLACES = 5
"""Places that are looked at again as boxes."""


@dataclass(frozen=True, eq=False)
class Look:
    """An image as the network sees it.

    Args:
        seen: Of the network.
        scale: Pixels of the reduced image for one of the image.
    """

    seen: Seen
    scale: float


@dataclass(frozen=True, eq=False)
class Place:
    """Where something may be.

    Args:
        box: (4,) xyxy pixels of the image.
        score: Probability that the sentence is true of it.
    """

    box: NDArray[np.float64]
    score: float


@dataclass(frozen=True)
class Reader:
    """Answers questions about images; holds no state of a video.

    Args:
        network: In evaluation mode.
        longest: Longer side to which images are reduced, pixels.
    """

    network: LanguageNetwork
    longest: int = 192

    @classmethod
    def load(cls, weights: str | Path = "embedded", longest: int = 192) -> Reader:
        """One with the weights that ship, or those of a file.

        Raises:
            UserError: The weights are not there or do not fit.
        """
        try:
            return cls(language_network(None if weights == "embedded" else weights), longest)
        except GeometryError as error:
            raise UserError(f"language: {error}") from None

    def tells(self, text: str) -> bool:
        """Whether a sentence says anything that the network knows of."""
        tokenizer = self.network.text.tokenizer
        return not isinstance(tokenizer, Tokenizer) or tokenizer.read(text).told

    @torch.no_grad()
    def look(self, image: Tensor, before: Tensor | None = None) -> Look:
        """See an image.

        Args:
            image: (3, H, W), floats in [0, 1] or uint8.
            before: The image one frame earlier; without it motion words say nothing.
        """
        small = self._reduced(image)
        earlier = None if before is None or before.shape != image.shape else self._reduced(before)
        return Look(self.network.see(small, earlier), small.shape[3] / image.shape[2])

    @torch.no_grad()
    def places(self, look: Look, text: str, template: Tensor | None = None) -> list[Place]:
        """Where what a sentence means may be, the best place first.

        Peaks of the response map give boxes; each is then looked at as a whole.

        Args:
            look: Of the image.
            text: A sentence.
            template: (1, M, C) of :meth:`template`.
        """
        network, seen = self.network, look.seen
        words = network.text.start(network.text.read([text]))
        found = network.respond(seen, words, template=template)
        response = found.map()[None]
        peaks = (response == max_pool2d(response, 3, 1, 1)).flatten()
        order = torch.where(peaks, response.flatten(), -1.0).argsort(descending=True)[:PLACES]
        height, width = seen.size
        limit = torch.tensor([width, height, width, height]) * float(network.stride)
        boxes = (found.boxes[0, order] * limit).clamp(min=0).minimum(limit)
        boxes = network.tighter(seen, boxes).clamp(min=0).minimum(limit)
        scores = self._box_scores(look, boxes, text, template)
        joined = (scores * response.flatten()[order].sqrt()).argsort(descending=True)
        return [Place(boxes[k].double().numpy() / look.scale, float(scores[k])) for k in joined.tolist()]

    @torch.no_grad()
    def scores(self, look: Look, text: str, boxes: ArrayLike, template: Tensor | None = None) -> NDArray[np.float64]:
        """Probabilities (K,) that a sentence is true of what boxes (K, 4) xyxy hold."""
        corners = torch.from_numpy(np.asarray(boxes, np.float32).reshape(-1, 4)) * look.scale
        return self._box_scores(look, corners, text, template).double().numpy()

    @torch.no_grad()
    def template(self, look: Look, box: ArrayLike) -> Tensor:
        """Tokens of what a box (4,) xyxy holds, for sentences together with it."""
        corners = torch.from_numpy(np.asarray(box, np.float32).reshape(1, 4)) * look.scale
        return self.network.template_tokens(look.seen, corners)

    @torch.no_grad()
    def aspects(self, look: Look, boxes: ArrayLike) -> NDArray[np.float64]:
        """Probabilities (K, A) of all answers of `vocabulary.ASPECTS` for what boxes (K, 4) xyxy hold."""
        corners = torch.from_numpy(np.asarray(boxes, np.float32).reshape(1, -1, 4)) * look.scale
        logits = self.network.hold(look.seen, corners).aspects[0]
        parts = logits.split([len(answers) for answers in ASPECTS.values()], 1)
        return torch.cat([part.softmax(1) for part in parts], 1).double().numpy()

    def _box_scores(self, look: Look, boxes: Tensor, text: str, template: Tensor | None) -> Tensor:
        if not len(boxes):
            return boxes.new_zeros(0)
        network = self.network
        words = network.text.start(network.text.read([text]))
        held = network.hold(look.seen, boxes[None])
        return network.respond(look.seen, words, template=template, boxes=held).of_boxes[0].sigmoid()

    def _reduced(self, image: Tensor) -> Tensor:
        pixels = image[None].float() / 255 if image.dtype == torch.uint8 else image[None].float()
        if max(pixels.shape[2:]) <= self.longest:
            return pixels
        scale = self.longest / max(pixels.shape[2:])
        size = [max(8, round(side * scale)) for side in pixels.shape[2:]]
        return interpolate(pixels, size, mode="bilinear", antialias=True)


def unknown_words(reader: Reader, text: str) -> tuple[str, ...]:
    """The words of a sentence that a network knows nothing of, each once."""
    return tuple(dict.fromkeys(reader.network.text.unknown(text)))
