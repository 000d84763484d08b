"""Three small learned rules: show a predicted box, link two tracklets, show an interpolated box.

Each is a perceptron with two hidden layers (about 1,000 weights) on features that any detector gives, trained on
simulated detection streams by ``python -m scenegraph_track.training.rules`` and evaluated in NumPy.  Lengths are in
heights of the object, times in seconds, so that neither resolution nor frame rate matters.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from scenegraph_track.errors import UserError
from scenegraph_track.tracking.matching import box_overlap

PREDICTED = (
    *("away", "missed", "age", "hits", "hit_rate", "speed", "spread", "in_front", "overlap", "inside", "score"),
    *("crowd", "step", "shape"),
)
"""Features of a predicted box, see ``tracking.prediction``."""

LINK = (
    *("gap", "ahead", "back", "apart", "reach", "height_ratio", "width_ratio", "turn", "age", "rest", "speed"),
    *("edge", "crowd", "score"),
)
"""Features of a pair of tracklets, see ``tracking.linking``."""

INTERPOLATED = (
    *("gap", "along", "travel", "bend", "height_ratio", "in_front", "overlap", "inside", "hit_rate", "age", "rest"),
    *("crowd", "step", "score"),
)
"""Features of an interpolated box, see ``tracking.interpolation``."""

RULES = {"predicted": PREDICTED, "link": LINK, "interpolated": INTERPOLATED}


@dataclass(frozen=True)
class Rule:
    """A perceptron that says how likely something is.

    Args:
        centre: (F,) mean of each feature in training.
        scale: (F,) standard deviation.
        weights: Three matrices (F, H), (H, H), (H, 1).
        biases: Three vectors.
    """

    centre: np.ndarray
    scale: np.ndarray
    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Probabilities (N,) of features (N, F)."""
        x = np.clip((features - self.centre) / self.scale, -6, 6)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            x = np.maximum(x @ weight + bias, 0)
        logit = (x @ self.weights[-1] + self.biases[-1])[:, 0]
        return 1 / (1 + np.exp(-np.clip(logit, -50, 50)))

    def tensors(self, name: str) -> dict[str, np.ndarray]:
        """The rule as named arrays of a safetensors file."""
        layers = {f"{name}.weight{i}": w for i, w in enumerate(self.weights)}
        layers |= {f"{name}.bias{i}": b for i, b in enumerate(self.biases)}
        return {f"{name}.centre": self.centre, f"{name}.scale": self.scale, **layers}

    @classmethod
    def from_tensors(cls, name: str, tensors: dict[str, np.ndarray]) -> Rule:
        """The inverse of :meth:`tensors`."""
        get = {k.removeprefix(f"{name}."): v.astype(np.float64) for k, v in tensors.items() if k.startswith(f"{name}.")}
        weights, biases = (tuple(get[f"{part}{i}"] for i in range(3)) for part in ("weight", "bias"))
        rule = cls(get["centre"], get["scale"], weights, biases)
        if rule.weights[0].shape[0] != len(RULES[name]):
            raise UserError(
                f"rule {name}: expected weights for {len(RULES[name])} features, found {rule.weights[0].shape[0]}"
            )
        return rule


def weights_path() -> Path:
    """Where the trained rules lie in the package."""
    return Path(str(resources.files("scenegraph_track"))) / "weights" / "rules.safetensors"


@lru_cache(maxsize=4)
def load_rules(path: Path | None = None) -> dict[str, Rule]:
    """The trained rules by name.

    Raises:
        UserError: The file is missing or does not fit.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = path or weights_path()
    try:
        tensors = load_file(path)
        return {name: Rule.from_tensors(name, tensors) for name in RULES}
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; train it with python -m scenegraph_track.training.rules") from None
    except (SafetensorError, KeyError) as wrong:
        raise UserError(f"{path}: expected the rules {', '.join(RULES)} ({wrong})") from None


def covers(boxes: np.ndarray, others: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much of each box lies behind others, and the largest overlap with one of them.

    Args:
        boxes: (N, 4) xyxy pixels.
        others: (M, 4).
        same: (N, M) bool, pairs that are the same object.

    Returns:
        The largest part of a box that one other box with a lower bottom edge covers (N,), and the largest IoU (N,).
    """
    if len(boxes) == 0 or len(others) == 0:
        return np.zeros(len(boxes)), np.zeros(len(boxes))
    shared = box_overlap(boxes, others)
    shared[same] = 0.0
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
    other_area = (others[:, 2:] - others[:, :2]).prod(1)
    front = np.where(others[None, :, 3] > boxes[:, None, 3], shared / area[:, None], 0.0)
    return front.max(1), (shared / np.maximum(area[:, None] + other_area[None] - shared, 1e-6)).max(1)


def inside_part(boxes: np.ndarray, image_size: tuple[int, int] | None) -> np.ndarray:
    """(N,) part of each box inside the image; 1 where its size is not known."""
    if image_size is None:
        return np.ones(len(boxes))
    inside = np.clip(boxes, 0, np.array([*image_size, *image_size], dtype=np.float64))
    return (inside[:, 2:] - inside[:, :2]).prod(1) / np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1e-6)
