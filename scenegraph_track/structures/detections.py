"""Objects found in one frame, without identity."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError
from scenegraph_track.structures.checks import Equal, as_tensor, check_boxes, check_tensor, owned, owned_boxes

if TYPE_CHECKING:
    import supervision


@dataclass(frozen=True, eq=False)
class Detections(Equal):
    """N objects found in one frame, without identity.

    Args:
        boxes: (N, 4) float xyxy pixels.
        scores: (N,) float; higher is surer.  Public detections are not always in [0, 1].
        masks: (N, h, w) bool, or float in [0, 1], at any resolution of the same view.
        embeddings: (N, D) float appearance vectors.
        depths: (N,) float metres along z, NaN where unknown.
        classes: (N,) integer class labels.

    Raises:
        UserError: A field has another shape or kind, a box is inverted, or a number is not finite.
    """

    boxes: Tensor
    scores: Tensor
    masks: Tensor | None = None
    embeddings: Tensor | None = None
    depths: Tensor | None = None
    classes: Tensor | None = None

    def __post_init__(self) -> None:
        check_tensor(self, "boxes", (None, 4), "(N, 4) xyxy pixels")
        n = len(self.boxes)
        check_boxes(self, self.boxes)
        check_tensor(self, "scores", (n,), f"({n},) like boxes")
        if self.masks is not None:
            check_tensor(self, "masks", (n, None, None), f"({n}, h, w) like boxes", floating=None)
        if self.embeddings is not None:
            check_tensor(self, "embeddings", (n, None), f"({n}, D) like boxes")
        if self.depths is not None:
            check_tensor(self, "depths", (n,), f"({n},) metres", floating=None)
        if self.classes is not None:
            check_tensor(self, "classes", (n,), f"({n},) integers", floating=False)

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, index: Any) -> Detections:
        """Rows chosen by a slice, an integer tensor or a boolean mask."""
        return Detections(**{f.name: None if (v := getattr(self, f.name)) is None else v[index] for f in fields(self)})

    @classmethod
    def empty(cls) -> Detections:
        """No objects at all."""
        return cls(boxes=torch.zeros(0, 4, dtype=torch.float64), scores=torch.zeros(0, dtype=torch.float64))

    @classmethod
    def from_arrays(cls, boxes: Any, scores: Any | None = None, **more: Any) -> Detections:
        """Make detections from array-likes: boxes (N, 4) xyxy, scores (N,) (1 where not given)."""
        boxes = owned_boxes("Detections.boxes", boxes)
        scores = np.ones(len(boxes)) if scores is None else owned("Detections.scores", scores, np.float64)
        return cls(boxes=boxes, scores=torch.from_numpy(scores), **{k: as_tensor(v) for k, v in more.items()})

    @classmethod
    def from_mot(cls, rows: np.ndarray) -> Detections:
        """Make detections from the rows of one frame of a MOTChallenge detection file.

        Args:
            rows: (N, >= 7) columns frame, id, left, top, width, height, score.
        """
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or rows.shape[1] < 7:
            raise UserError(f"Detections.from_mot: expected (N, >= 7) rows, found shape {rows.shape}")
        return cls.from_arrays(np.c_[rows[:, 2:4], rows[:, 2:4] + rows[:, 4:6]], rows[:, 6])

    def to_mot(self, frame: int) -> np.ndarray:
        """Rows (N, 10) of a MOTChallenge detection file; ``frame`` counts from 0 here and from 1 in the rows."""
        boxes, n = self.boxes.double().cpu().numpy(), len(self)
        blank = np.full((n, 3), -1.0)
        return np.c_[
            np.full(n, frame + 1.0),
            np.full(n, -1.0),
            boxes[:, :2],
            boxes[:, 2:] - boxes[:, :2],
            self.scores.double().cpu().numpy(),
            blank,
        ]

    @classmethod
    def from_supervision(cls, detections: supervision.Detections) -> Detections:
        """Make detections from ``supervision.Detections`` (embeddings and depths from its ``data``)."""
        data = detections.data
        return cls.from_arrays(
            detections.xyxy,
            detections.confidence,
            masks=detections.mask,
            classes=None if detections.class_id is None else np.asarray(detections.class_id, dtype=np.int64),
            embeddings=data.get("embeddings"),
            depths=data.get("depths"),
        )

    def to_supervision(self) -> supervision.Detections:
        """The same objects as ``supervision.Detections`` (needs the package ``supervision``)."""
        import supervision

        data = {k: v.cpu().numpy() for k in ("embeddings", "depths") if (v := getattr(self, k)) is not None}
        return supervision.Detections(
            xyxy=self.boxes.cpu().numpy(),
            confidence=self.scores.cpu().numpy(),
            class_id=None if self.classes is None else self.classes.cpu().numpy(),
            mask=None
            if self.masks is None
            else (self.masks if self.masks.dtype == torch.bool else self.masks > 0.5).cpu().numpy(),
            data=data,
        )
