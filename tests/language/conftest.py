"""A tiny language network, its weights file, and a stand-in that knows colours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from scenegraph_track.language.network import LanguageNetSettings, LanguageNetwork
from scenegraph_track.language.reading import Place
from scenegraph_track.training.weights import save_weights

TINY = LanguageNetSettings(channels=(4, 6, 8), blocks=(0, 1), stages=2, heads=2, text_dim=8, tower=8)


@pytest.fixture
def network() -> LanguageNetwork:
    torch.manual_seed(0)
    return LanguageNetwork(TINY).eval()


@pytest.fixture
def weights(network: LanguageNetwork, tmp_path: Path) -> Path:
    path = tmp_path / "language.safetensors"
    state = {f"language.{name}": value for name, value in network.state_dict().items()}
    save_weights(path, state, {"recipe": {"language_net": TINY.model_dump(mode="json")}})
    return path


class ColourReader:
    """Stands in for a reader: "red" is true of what is red, "blue" of what is blue; a look is the image."""

    def tells(self, text: str) -> bool:
        return "red" in text or "blue" in text

    def look(self, image: torch.Tensor, before: torch.Tensor | None = None) -> np.ndarray:
        return (image.float() / (255 if image.dtype == torch.uint8 else 1)).numpy()

    def _map(self, look: np.ndarray, text: str) -> np.ndarray:
        strong, weak = (0, 2) if "red" in text else (2, 0)
        return (look[strong] > 0.8) & (look[weak] < 0.2)

    def places(self, look: np.ndarray, text: str) -> list[Place]:
        rows, columns = np.nonzero(self._map(look, text))
        if not len(rows):
            return []
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return [Place(np.array(corners, np.float64), 0.99)]

    def scores(self, look: np.ndarray, text: str, boxes: np.ndarray) -> np.ndarray:
        cut = [self._map(look, text)[int(b[1]) : int(b[3]), int(b[0]) : int(b[2])] for b in np.asarray(boxes)]
        return np.array([float(one.mean()) if one.size else 0.0 for one in cut])


@pytest.fixture
def colours() -> ColourReader:
    return ColourReader()
