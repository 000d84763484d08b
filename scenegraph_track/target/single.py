"""Following one target through a video by its box in the first frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.target.embedded import follow_settings, target_network
from scenegraph_track.target.follow import follow, start_following
from scenegraph_track.target.followed import Followed, FollowSettings
from scenegraph_track.target.network import TargetNetwork


@dataclass(frozen=True)
class SingleTracker:
    """Follows one target; holds no state of a video.

    Args:
        network: In evaluation mode.
        settings: How to follow.
    """

    network: TargetNetwork
    settings: FollowSettings = FollowSettings()

    @classmethod
    def load(cls, path: str | Path | None = None) -> SingleTracker:
        """One with trained weights, which follows as their file says.

        Args:
            path: Weights in place of those that ship.

        Raises:
            UserError: No weights ship, or the recipe in the file does not describe a network or how to follow.
            GeometryError: The file is missing or is no weights file, or the weights do not fit.
        """
        return cls(target_network(path), follow_settings(path))

    def start(self, image: NDArray[np.uint8], box: NDArray[np.float64]) -> Followed:
        """The state after the first frame.

        Args:
            image: (H, W, 3) RGB.
            box: (4,) xyxy pixels.
        """
        boxes = torch.tensor(np.asarray(box)[None], dtype=torch.float32)
        return start_following(self.network, self.settings, _images(image), boxes)

    def step(self, state: Followed, image: NDArray[np.uint8]) -> tuple[Followed, NDArray[np.float64] | None, float]:
        """The next frame.

        Args:
            state: In the frame before.
            image: (H, W, 3) RGB.

        Returns:
            The state, the box (4,) xyxy, and the score of the response.  While the target is lost, the box is the last
            one, and after some frames (``settings.patience``) None: the target is absent, until it is found again.
        """
        after = follow(self.network, self.settings, state, _images(image))
        absent = after.lost[0] > self.settings.patience
        return after, None if absent else after.boxes[0].double().numpy(), float(after.scores[0])


def _images(image: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
