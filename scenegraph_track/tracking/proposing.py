"""Objects of a frame that comes without detections: from slots that discover them, or from somebody's detector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from detectors.errors import DetectorError
from geometry import GeometryError
from geometry.video import reduced
from scenegraph_track.config import DetectorSettings
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Detections, Frame
from scenegraph_track.tracking.space import Space

Carried = Mapping[str, np.ndarray]
"""What a detector carries from frame to frame, by name; empty before the first frame."""

Proposer = Callable[[Carried, Frame, Space | None], tuple[Carried, Detections]]


def proposer(settings: DetectorSettings) -> Proposer | None:
    """What finds objects, a pure function of what it carries, the frame and its geometry; None: nothing does.

    Raises:
        UserError: A network cannot be loaded.
    """
    try:
        if settings.kind == "slots":
            return _Slots(settings)
        if settings.kind == "transformers":
            return _Pretrained(settings)
    except (GeometryError, DetectorError) as error:
        raise UserError(f"detector: {error}") from None
    return None


class _Slots:
    """The slots of `scenegraph_track.discovery`, at the resolution of the geometry."""

    def __init__(self, settings: DetectorSettings) -> None:
        from detectors.embedded import slot_detector

        self.net = slot_detector(None if settings.weights == "embedded" else settings.weights)
        self.settings = settings

    def __call__(self, carried: Carried, frame: Frame, space: Space | None) -> tuple[Carried, Detections]:
        from scenegraph_track.discovery import DiscoveryState, discover, discovered_detections

        if frame.image is None:
            return carried, Detections.empty()
        flow, residual = (None, None) if space is None else (space.flow, space.residual)
        small = reduced(frame.image, self.settings.working_size if flow is None else max(flow.shape[1:]))
        depth, confidence = (None, None) if flow is None or space is None else (space.depth, space.confidence)
        state = DiscoveryState.from_arrays(carried) if carried else DiscoveryState.start()
        state, found = discover(self.net, state, small.float() / 255, residual, flow)
        detections = discovered_detections(found, _tensor(depth), _tensor(confidence))
        detections = detections[detections.scores >= self.settings.threshold]
        scale = torch.tensor([frame.image.shape[2] / small.shape[2], frame.image.shape[1] / small.shape[1]] * 2)
        return state.arrays(), Detections(**{**vars(detections), "boxes": detections.boxes * scale})


class _Pretrained:
    """A detector of the library ``transformers``, which carries nothing."""

    def __init__(self, settings: DetectorSettings) -> None:
        from detectors.pretrained import TransformersDetector

        options: dict[str, Any] = {"threshold": settings.threshold, "text": settings.text}
        self.detector = TransformersDetector.load(settings.weights, classes=settings.classes or None, **options)

    def __call__(self, carried: Carried, frame: Frame, space: Space | None) -> tuple[Carried, Detections]:
        if frame.image is None:
            return carried, Detections.empty()
        image = frame.image.float() / 255 if frame.image.dtype == torch.uint8 else frame.image
        return carried, Detections(**vars(self.detector(image)))


def _tensor(values: np.ndarray | None) -> Tensor | None:
    return None if values is None else torch.from_numpy(np.asarray(values, np.float32))
