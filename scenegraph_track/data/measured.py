"""Depth, poses and intrinsics that were measured and lie beside the images of a sequence.

::

    depth/                                  16 bit images, one a frame in natural order: millimetres along the optical
                                            axis, 0 unknown
    poses.txt or poses/poses.txt            TUM: timestamp tx ty tz qx qy qz qw, camera to world, a line a frame
    intrinsics.txt or intrinsics/K.txt      3 x 3 pinhole matrix in pixels of the image

Any of the three may be missing.  Written so by `synth`, and so do recordings of RGB-D cameras come.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from geometry.errors import GeometryError
from geometry.trajectory import Trajectory, read_tum
from scenegraph_track.data.rgbd import read_depth, read_matrix
from scenegraph_track.errors import UserError
from scenegraph_track.files import list_images
from scenegraph_track.structures import Frame


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured with T frames.

    Args:
        depths: T files, or none at all.
        trajectory: T poses ``world_from_camera`` in metres, or None.
        intrinsics: (3, 3) float64, or None.
    """

    depths: tuple[Path, ...] = ()
    trajectory: Trajectory | None = None
    intrinsics: Tensor | None = None

    def added_to(self, frame: Frame) -> Frame:
        """The frame with what was measured of it.

        Raises:
            UserError: Its depth is no 16 bit image.
        """
        depth = pose = None
        if frame.index < len(self.depths):
            depth = torch.from_numpy(read_depth(self.depths[frame.index]))[None]
        if self.trajectory is not None and frame.index < len(self.trajectory):
            pose = torch.from_numpy(self.trajectory.world_from_camera[frame.index])
        return replace(frame, depth=depth, world_from_camera=pose, intrinsics=self.intrinsics)


def measured_files(folder: Path) -> tuple[Path, ...]:
    """The files of poses and intrinsics and the depth images in a folder; empty where neither depth nor poses are."""
    poses, depths = _first(folder, "poses.txt", "poses/poses.txt"), list_images(folder / "depth")
    if poses is None and not depths:
        return ()
    intrinsics = _first(folder, "intrinsics.txt", "intrinsics/K.txt")
    return (*(path for path in (poses, intrinsics) if path is not None), *depths)


def read_measured(folder: str | Path) -> Measured:
    """Open what was measured; depth is read frame by frame later.

    Args:
        folder: In the layout that the module describes.

    Raises:
        UserError: Poses are malformed, or there are neither depth nor poses.
        FormatError: The intrinsics are no pinhole matrix.
    """
    folder = Path(folder)
    if not measured_files(folder):
        raise UserError(f"{folder}: expected measured depth (depth/) or poses (poses.txt), found neither")
    poses, matrix = _first(folder, "poses.txt", "poses/poses.txt"), _first(folder, "intrinsics.txt", "intrinsics/K.txt")
    try:
        trajectory = None if poses is None else read_tum(poses)
    except GeometryError as error:
        raise UserError(str(error)) from None
    return Measured(
        list_images(folder / "depth"), trajectory, None if matrix is None else torch.from_numpy(read_matrix(matrix))
    )


def _first(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
