"""What happens to the colours between the world and the file."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.scene import Scene

_BANK = 16
_NOISE_UNIT = 24.0


class Developer:
    """Applies the photometric nuisances of a scene to its drawn frames."""

    def __init__(self, scene: Scene) -> None:
        self.photometry = scene.photometry
        width, height = scene.size
        self.noise = None
        if self.photometry.noise.any():
            rng = np.random.default_rng((self.photometry.seed, 1))
            shape = (height + _BANK, width + _BANK, 3)
            grains = 128 + np.float32(_NOISE_UNIT) * rng.standard_normal(shape, dtype=np.float32)
            self.noise = np.clip(grains, 0, 255).astype(np.uint8)
            self.offsets = rng.integers(0, _BANK, (len(scene), 2))

    def develop(self, image: NDArray[np.uint8], frame: int) -> NDArray[np.uint8]:
        """Gains, blur, noise and compression, in this order.

        Args:
            image: (H, W, 4) uint8 RGBA.
            frame: Its index.

        Returns:
            (H, W, 3) uint8 RGB.
        """
        settings = self.photometry
        out = cv2.cvtColor(image, cv2.COLOR_RGBA2RGB)
        gains = settings.gains[frame]
        if (gains != 1).any():
            levels = np.clip(np.arange(256)[:, None] * gains + 0.5, 0, 255).astype(np.uint8)
            out = cv2.LUT(out, levels[None])
        if settings.blur[frame] > 0.15:
            out = cv2.GaussianBlur(out, (0, 0), float(settings.blur[frame]))
        if self.noise is not None:
            top, left = self.offsets[frame]
            height, width = out.shape[:2]
            grains = self.noise[top : top + height, left : left + width]
            weight = float(settings.noise[frame]) / _NOISE_UNIT
            out = cv2.addWeighted(out, 1.0, grains, weight, -128 * weight)
        if settings.jpeg_quality:
            _, packed = cv2.imencode(".jpg", out, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])
            out = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        return out
