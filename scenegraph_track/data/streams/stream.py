"""The container of one simulated sequence: truth, detections and the motion of the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scenegraph_track.errors import UserError


@dataclass(frozen=True)
class Stream:
    """One sequence of detections with its truth, as a struct of arrays.

    M truth rows are sorted by frame, then id; D detection rows are sorted by frame. Frames count from 0, ids from 1.
    Boxes are xyxy in pixels, continuous coordinates.

    Args:
        name: Name of the sequence.
        frame_rate: Frames per second.
        image_size: Width and height in pixels.
        frames: Number of frames T.
        truth_frame: Frame of each truth row, shape (M,), int64.
        truth_id: Identity of each truth row, shape (M,), int64, at least 1, never used for two objects.
        truth_boxes: Amodal boxes (the whole object, also where hidden or outside the image), shape (M, 4), float64.
        truth_visibility: Share of the amodal box that is inside the image and not covered by anything nearer,
            shape (M,), in [0, 1], counted on a grid of 16 x 16 cells.
        truth_depth: Depth of the object's foot point along the optical axis in metres, shape (M,), positive.
        det_frame: Frame of each detection, shape (D,), int64.
        det_boxes: Detected boxes, shape (D, 4), float64.
        det_scores: Scores on the sequence's own scale (not always [0, 1]), shape (D,), float64.
        det_id: Identity of the object that caused the detection, 0 for a false positive, shape (D,), int64.
        camera_from_previous: Affine motion of the static background, previous pixel to pixel of this frame,
            shape (T, 2, 3); the identity for frame 0.

    Raises:
        UserError: A field has the wrong shape, order or range.
    """

    name: str
    frame_rate: float
    image_size: tuple[int, int]
    frames: int
    truth_frame: np.ndarray
    truth_id: np.ndarray
    truth_boxes: np.ndarray
    truth_visibility: np.ndarray
    truth_depth: np.ndarray
    det_frame: np.ndarray
    det_boxes: np.ndarray
    det_scores: np.ndarray
    det_id: np.ndarray
    camera_from_previous: np.ndarray

    def __post_init__(self) -> None:
        truths, detections = len(self.truth_frame), len(self.det_frame)
        shapes = {
            "truth_frame": (truths,),
            "truth_id": (truths,),
            "truth_boxes": (truths, 4),
            "truth_visibility": (truths,),
            "truth_depth": (truths,),
            "det_frame": (detections,),
            "det_boxes": (detections, 4),
            "det_scores": (detections,),
            "det_id": (detections,),
            "camera_from_previous": (self.frames, 2, 3),
        }
        for field, shape in shapes.items():
            value = getattr(self, field)
            if value.shape != shape:
                raise UserError(f"Stream.{field}: expected shape {shape}, found {value.shape}")
            if not np.isfinite(value).all():
                raise UserError(f"Stream.{field}: expected finite values")
        if not self.frame_rate > 0:
            raise UserError(f"Stream.frame_rate: expected a positive number, found {self.frame_rate}")
        for field in ("truth_frame", "det_frame"):
            value = getattr(self, field)
            if len(value) and (value[0] < 0 or value[-1] >= self.frames or (np.diff(value) < 0).any()):
                raise UserError(f"Stream.{field}: expected sorted frames in 0..{self.frames - 1}")
        same_frame = np.diff(self.truth_frame) == 0
        if (same_frame & (np.diff(self.truth_id) <= 0)).any() or (self.truth_id < 1).any():
            raise UserError("Stream.truth_id: expected ids from 1, increasing within each frame")
        for field in ("truth_boxes", "det_boxes"):
            if (getattr(self, field)[:, 2:] <= getattr(self, field)[:, :2]).any():
                raise UserError(f"Stream.{field}: expected x1 < x2 and y1 < y2 in every row")
        if ((self.truth_visibility < 0) | (self.truth_visibility > 1)).any():
            raise UserError("Stream.truth_visibility: expected values in [0, 1]")
        if (self.truth_depth <= 0).any():
            raise UserError("Stream.truth_depth: expected positive depths")

    def detections(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the detections of one frame.

        Args:
            frame: Frame, from 0.

        Returns:
            Boxes (N, 4), scores (N,) and owner ids (N,), 0 for a false positive.
        """
        rows = slice(*np.searchsorted(self.det_frame, [frame, frame + 1]))
        return self.det_boxes[rows], self.det_scores[rows], self.det_id[rows]

    def truth(self, frame: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return the truth of one frame.

        Args:
            frame: Frame, from 0.

        Returns:
            Ids (N,), amodal boxes (N, 4), visibility (N,) and depth (N,).
        """
        rows = slice(*np.searchsorted(self.truth_frame, [frame, frame + 1]))
        return self.truth_id[rows], self.truth_boxes[rows], self.truth_visibility[rows], self.truth_depth[rows]
