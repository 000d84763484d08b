"""The methods that `eval objects` compares: the learned detector, if its weights are at hand, and baselines."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detectors.embedded import SHIPPED, slot_detector
from detectors.slot_detector import SlotDetector
from scenegraph_track.discovery import DiscoveryState, discover
from scenegraph_track.evaluation import object_baselines
from scenegraph_track.evaluation.estimators import networks_in
from scenegraph_track.evaluation.object_clips import ObjectClip
from scenegraph_track.evaluation.objects import LEARNED, Method

DETECTOR = "detector"
"""What the names of its weights begin with in a file."""


def learned_method(path: str | None) -> Method | None:
    """The learned detector as a method; None where no weights are given and none ship.

    Args:
        path: Weights in place of those that ship.

    Raises:
        UserError: The weights do not fit.
    """
    if path is None and not SHIPPED.is_file():
        return None
    return partial(discovered_labels, slot_detector(path))


def discovered_labels(net: SlotDetector, clip: ObjectClip) -> NDArray:
    """The objects that the detector discovers, with numbers that last from frame to frame."""
    state, labels = DiscoveryState.start(), []
    for image, cue in zip(clip.images, clip.cues):
        state, found = discover(net, state, image.float() / 255, cue.residual, cue.flow)
        labels.append(found.labels.numpy())
    return np.stack(labels)


def object_methods(path: str | None = None) -> dict[str, Method]:
    """All methods by name, the learned one first, if there is one.

    Args:
        path: See `learned_method`.
    """
    learned = learned_method(path)
    return {**({} if learned is None else {LEARNED: learned}), **BASELINES}


def part_weights(files: Sequence[Path]) -> tuple[str | None, list[Path]]:
    """Files of weights parted: the last that holds a detector, and those that hold networks for flow or depth.

    Raises:
        GeometryError: A file is missing or no safetensors file.
    """
    held = {file: networks_in(str(file)) for file in files}
    detector = next((str(file) for file in reversed(files) if DETECTOR in held[file]), None)
    return detector, [file for file in files if held[file] != {DETECTOR}]


def kmeans(clip: ObjectClip, clusters: int = object_baselines.CLUSTERS) -> NDArray:
    """Space-time k-means on position, colour and motion residual."""
    return object_baselines.kmeans(clip.images, [cue.residual for cue in clip.cues], clusters)


def kmeans_few(clip: ObjectClip) -> NDArray:
    """The same with fewer clusters, that hold whole objects rather than fit them closely."""
    return kmeans(clip, object_baselines.FEW_CLUSTERS)


def components(clip: ObjectClip) -> NDArray:
    """Connected components of the motion residual, linked through the flow."""
    return object_baselines.linked_components([cue.residual for cue in clip.cues], [cue.flow for cue in clip.cues])


def blocks(clip: ObjectClip) -> NDArray:
    """A grid of blocks, the same in all frames."""
    return object_baselines.blocks(len(clip), clip.images.shape[2:])


BASELINES: dict[str, Method] = {"kmeans": kmeans, "kmeans_few": kmeans_few, "components": components, "blocks": blocks}
