"""Recordings of a real RGB-D camera: images, depth and poses.

::

    rgb_registered/ or rgb/   images, in natural order
    depth/                    16 bit images of the same size and number: millimetres along the optical axis, 0 unknown
    poses/poses.txt           TUM: timestamp tx ty tz qx qy qz qw, camera to world, a line an image
    intrinsics/K.txt          3 x 3 pinhole matrix in pixels, the centre of the first pixel at (0.5, 0.5)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geometry.errors import GeometryError
from geometry.trajectory import Trajectory, read_tum
from scenegraph_track.data.image_files import images_in_folder, read_image
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.files import read_text

MILLIMETRE = 0.001
KEPT_IMAGES = 32
"""Decoded images that are kept in memory."""


class LazyImages(Sequence[Tensor]):
    """Images (3, H, W) uint8 that are read when they are asked for, the last ones kept."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._kept: OrderedDict[int, Tensor] = OrderedDict()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:  # type: ignore[override]
        path = self.paths[index]
        index %= len(self.paths)
        if index not in self._kept:
            rgb = read_image(path)
            if isinstance(rgb, str):
                raise UserError(f"{path} {rgb}")
            self._kept[index] = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
            if len(self._kept) > KEPT_IMAGES:
                self._kept.popitem(last=False)
        self._kept.move_to_end(index)
        return self._kept[index]


@dataclass(frozen=True, eq=False)
class RgbdRecording:
    """A recording with T frames.

    Args:
        folder: Where it lies.
        images: T images (3, H, W) uint8 RGB.
        depth_paths: T files.
        intrinsics: (3, 3) float64, pixels.
        trajectory: T poses ``world_from_camera``, metres.
    """

    folder: Path
    images: LazyImages
    depth_paths: tuple[Path, ...]
    intrinsics: NDArray[np.float64]
    trajectory: Trajectory

    def __len__(self) -> int:
        return len(self.images)

    def depth(self, index: int) -> NDArray[np.float32]:
        """Depth (H, W) of a frame along z in metres, 0 where unknown.

        Raises:
            UserError: The file is no 16 bit image of the size of the colour image.
        """
        found = read_depth(self.depth_paths[index])
        height, width = self.images[index].shape[1:]
        if found.shape != (height, width):
            size = f"{found.shape[1]} x {found.shape[0]}"
            raise UserError(
                f"{self.depth_paths[index]}: expected the size {width} x {height} of its image, found {size}"
            )
        return found


def read_depth(path: Path) -> NDArray[np.float32]:
    """Depth (H, W) in metres of a 16 bit image in millimetres.

    Raises:
        UserError: It is no such image.
    """
    found = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if found is None or found.dtype != np.uint16 or found.ndim != 2:
        what = "no readable image" if found is None else f"{found.dtype} {found.shape}"
        raise UserError(f"{path}: expected depth as a 16 bit image with one channel, found {what}")
    return found.astype(np.float32) * np.float32(MILLIMETRE)


def read_rgbd(folder: str | Path) -> RgbdRecording:
    """Open a recording; images are read later.

    Args:
        folder: In the layout that the module describes.

    Returns:
        The recording.

    Raises:
        UserError: The folder or a part of it is missing or malformed, or the numbers of files differ.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    colour = next((folder / name for name in ("rgb_registered", "rgb") if (folder / name).is_dir()), None)
    parts = {
        "rgb_registered/ or rgb/": colour,
        "depth/": folder / "depth",
        "poses/poses.txt": folder / "poses/poses.txt",
    }
    parts["intrinsics/K.txt"] = folder / "intrinsics" / "K.txt"
    missing = [name for name, path in parts.items() if path is None or not path.exists()]
    if missing or colour is None:
        raise UserError(f"{folder}: expected a recording of an RGB-D camera, found no {' and no '.join(missing)}")
    images, depths = images_in_folder(colour), images_in_folder(folder / "depth")
    try:
        trajectory = read_tum(parts["poses/poses.txt"])  # type: ignore[arg-type]
    except GeometryError as error:
        raise UserError(str(error)) from None
    if not len(images) == len(depths) == len(trajectory):
        counts = f"{len(images)} images, {len(depths)} of depth and {len(trajectory)} poses"
        raise UserError(f"{folder}: expected as many images as depth images and poses, found {counts}")
    return RgbdRecording(folder, LazyImages(images), tuple(depths), read_intrinsics(folder), trajectory)


def read_intrinsics(folder: Path) -> NDArray[np.float64]:
    """The 3 x 3 matrix in ``intrinsics/K.txt``, see `read_matrix`."""
    return read_matrix(folder / "intrinsics" / "K.txt")


def read_matrix(path: Path) -> NDArray[np.float64]:
    """A 3 x 3 pinhole matrix from a text file.

    Raises:
        FormatError: It holds no such matrix.
    """
    words = read_text(path).replace(",", " ").split()
    try:
        matrix = np.array([float(word) for word in words]).reshape(3, 3)
    except ValueError:
        raise FormatError(path, None, "a 3 x 3 matrix of numbers", f"{len(words)} words") from None
    if not (np.isfinite(matrix).all() and matrix[0, 0] > 0 and matrix[1, 1] > 0):
        raise FormatError(path, None, "positive focal lengths", f"{matrix[0, 0]:g} and {matrix[1, 1]:g}")
    return matrix
