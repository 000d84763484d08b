"""Objects of a frame that comes without detections: from slots that discover them, or from somebody's detector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from geometry import GeometryError
from geometry.video import reduced
from scenegraph_track.config import DetectorSettings
from scenegraph_track.errors import UserError
from scenegraph_track.structures import Detections, Frame
from scenegraph_track.tracking.space import Space

Proposer = Callable[[Frame, Space | None], Detections]


def proposer(settings: DetectorSettings) -> Proposer | None:
    """What finds the objects of a frame whose geometry is known or not; None: nothing does.

    Raises:
        UserError: A network cannot be loaded.
    """
    try:
        if settings.kind == "slots":
            return _Slots(settings)
        if settings.kind == "transformers":
            return _Pretrained(settings)
    except GeometryError as error:
        raise UserError(f"detector: {error}") from None
    return None


class _Slots:
    """The slots of `scenegraph_track.discovery`, at the resolution of the geometry; identities are the tracker's."""

    def __init__(self, settings: DetectorSettings) -> None:
        from detectors.embedded import slot_detector

        backbone = None if settings.backbone == "recipe" else settings.backbone
        self.net = slot_detector(None if settings.weights == "embedded" else settings.weights, backbone)
        self.settings = settings

    def __call__(self, frame: Frame, space: Space | None) -> Detections:
        from scenegraph_track.discovery import discovered_detections, objects_of

        if frame.image is None:
            return Detections.empty()
        residual = None if space is None else space.residual
        longest = self.settings.working_size if residual is None else max(residual.shape[1:])
        small = reduced(frame.image, longest)
        found = discovered_detections(objects_of(self.net, small.float() / 255, residual))
        found = found[found.scores >= self.settings.threshold]
        scale = torch.tensor([frame.image.shape[2] / small.shape[2], frame.image.shape[1] / small.shape[1]] * 2)
        return Detections(**{**vars(found), "boxes": found.boxes * scale})


class _Pretrained:
    """A detector of the library ``transformers``."""

    def __init__(self, settings: DetectorSettings) -> None:
        from detectors.pretrained import TransformersDetector

        options: dict[str, Any] = {"threshold": settings.threshold, "text": settings.text or None}
        self.detector = TransformersDetector.load(settings.weights, classes=settings.classes or None, **options)

    def __call__(self, frame: Frame, space: Space | None) -> Detections:
        if frame.image is None:
            return Detections.empty()
        image = frame.image.float() / 255 if frame.image.dtype == torch.uint8 else frame.image
        return Detections(**vars(self.detector(image)))
