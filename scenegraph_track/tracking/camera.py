"""Motion of the camera in the image, as an affine map ``current_from_previous`` (2, 3) of pixel coordinates."""

from __future__ import annotations

import numpy as np

from scenegraph_track.structures import Frame
from scenegraph_track.tracking.matching import median

WIDTH = 480
"""Images are reduced to this width before their motion is measured."""

_LARGEST_VOTE = 32
_CANDIDATES = 64


def small_grey(frame: Frame) -> np.ndarray:
    """(h, w) uint8 grey image, at most :data:`WIDTH` wide; (0, 0) where the frame has no image."""
    if frame.image is None:
        return np.zeros((0, 0), dtype=np.uint8)
    import cv2

    height, width = frame.image.shape[1:]
    scale = min(1.0, WIDTH / width)
    grey = cv2.transform(
        frame.image.permute(1, 2, 0).contiguous().cpu().numpy(), np.float32([[0.299, 0.587, 0.114]]) * 255
    )
    small = cv2.resize(
        grey, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    return np.clip(small + 0.5, 0, 255).astype(np.uint8)


def measured_motion(previous: np.ndarray, current: np.ndarray, boxes: np.ndarray, width: int) -> np.ndarray | None:
    """Follow corners of the background by sparse optical flow and fit a similarity by RANSAC.

    Args:
        previous: (h, w) uint8 of :func:`small_grey`.
        current: The same of this frame.
        boxes: (N, 4) objects in ``previous``, xyxy full-size pixels: corners inside are not background.
        width: Full width of the image in pixels.

    Returns:
        ``current_from_previous`` (2, 3) in full-size pixels, or None where too little is seen of the background.
    """
    corners = followed_corners(previous, current, boxes, width)
    return None if corners is None else similarity_of(corners, previous.shape[1] / width)


def followed_corners(
    previous: np.ndarray, current: np.ndarray, boxes: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Follow corners of the background by sparse optical flow; arguments as of :func:`measured_motion`.

    Returns:
        Pixels (P, 2) in the previous and in the current small image, or None where there are fewer than 12.
    """
    import cv2

    if previous.size == 0 or previous.shape != current.shape:
        return None
    scale = previous.shape[1] / width
    mask = np.full(previous.shape, 255, dtype=np.uint8)
    for x1, y1, x2, y2 in np.clip(boxes * scale, 0, max(previous.shape)).astype(np.int64):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 0
    corners = cv2.goodFeaturesToTrack(previous, 300, 0.01, 7, mask=mask)
    if corners is None or len(corners) < 12:
        return None
    moved, found, _ = cv2.calcOpticalFlowPyrLK(previous, current, corners, None, winSize=(15, 15), maxLevel=3)
    found = found.reshape(-1) == 1
    if found.sum() < 12:
        return None
    return corners.reshape(-1, 2)[found], moved.reshape(-1, 2)[found]


def similarity_of(corners: tuple[np.ndarray, np.ndarray], scale: float) -> np.ndarray | None:
    """The similarity that most corners follow, by RANSAC.

    Args:
        corners: Of :func:`followed_corners`.
        scale: Width of the small image over the full width.

    Returns:
        ``current_from_previous`` (2, 3) in full-size pixels, or None where too few corners agree.
    """
    import cv2

    matrix, inliers = cv2.estimateAffinePartial2D(*corners, method=cv2.RANSAC, ransacReprojThreshold=1.5)
    if matrix is None or inliers.sum() < max(10, 0.3 * len(corners[0])):
        return None
    matrix = np.asarray(matrix, dtype=np.float64)
    matrix[:, 2] /= scale
    return matrix


def voted_motion(predicted: np.ndarray, detected: np.ndarray) -> np.ndarray | None:
    """The jump that most objects share, where there is no image to see it in.

    Every track and detection of like height that are near each other vote for their offset; a jump is believed where
    it explains clearly more pairs than standing still, and at least 40 % of the objects.

    Args:
        predicted: (N, 4) boxes of tracks, xyxy pixels.
        detected: (M, 4) boxes.

    Returns:
        ``current_from_previous`` (2, 3), a translation, or None.
    """
    if len(predicted) < 3 or len(detected) < 3:
        return None
    objects = min(len(predicted), len(detected))
    predicted, detected = _largest(predicted), _largest(detected)
    heights, others = predicted[:, 3] - predicted[:, 1], detected[:, 3] - detected[:, 1]
    offset = (detected[None, :, :2] + detected[None, :, 2:] - predicted[:, None, :2] - predicted[:, None, 2:]) / 2
    smaller = np.minimum(heights[:, None], others[None])
    alike = np.maximum(heights[:, None], others[None]) < 1.28 * smaller
    votes = offset[alike & (np.abs(offset).max(-1) < 1.2 * smaller)]
    if len(votes) < 3:
        return None
    tolerance = 0.15 * median(heights)
    candidates = np.concatenate([np.zeros((1, 2)), votes[:: len(votes) // _CANDIDATES + 1]])
    near = np.abs(candidates[:, None] - votes[None]).max(-1) < tolerance
    support = near.sum(1)
    best = int(support.argmax())
    if support[best] <= 1.3 * support[0] + 1 or support[best] < 0.4 * min(objects, _LARGEST_VOTE):
        return None
    jump = median(votes[near[best]])
    return np.array([[1.0, 0.0, jump[0]], [0.0, 1.0, jump[1]]])


def _largest(boxes: np.ndarray) -> np.ndarray:
    if len(boxes) <= _LARGEST_VOTE:
        return boxes
    return boxes[np.argsort(boxes[:, 1] - boxes[:, 3], kind="stable")[:_LARGEST_VOTE]]
