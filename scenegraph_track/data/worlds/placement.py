"""Finding a place for a moving body: in view at some time, clear of the camera, of walls and of the others."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.worlds.camera import CameraPath
from scenegraph_track.data.worlds.motion import Track

CLEARANCE = 0.9
"""Metres between the optical centre and any body."""


@dataclass(frozen=True)
class Placed:
    """A path on the ground.

    Args:
        path: (T, 2) x and z in metres.
        heading: Radians, 0 along +x, pi / 2 along +z.
        penalty: 0 where the place is free.
    """

    path: NDArray[np.float64]
    heading: float
    penalty: float


@dataclass
class Stage:
    """Where bodies can stand, while a world is being filled.

    Args:
        camera: The camera's path.
        times: (T,) seconds.
        size: (width, height) of the image.
        low: (2,) smallest x and z.
        high: (2,) largest x and z.
        paths: (T, 2) of the bodies placed so far.
        radii: Their radii, metres.
    """

    camera: CameraPath
    times: NDArray[np.float64]
    size: tuple[int, int]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    paths: list[NDArray[np.float64]] = field(default_factory=list)
    radii: list[float] = field(default_factory=list)

    def ground_points(self, frames: NDArray, columns: NDArray, depths: NDArray) -> NDArray[np.float64]:
        """(M, 2) x and z of the ground under image columns (0-1) at distances in metres from the cameras of frames."""
        poses, k = self.camera.world_from_camera[frames], self.camera.intrinsics
        ahead, right = poses[:, [0, 2], 2], poses[:, [0, 2], 0]
        ahead = ahead / np.hypot(ahead[:, :1], ahead[:, 1:])
        right = right / np.hypot(right[:, :1], right[:, 1:])
        sideways = (columns * self.size[0] - k[0, 2]) / k[0, 0]
        return poses[:, [0, 2], 3] + depths[:, None] * (ahead + sideways[:, None] * right)

    def add(self, path: NDArray, radius: float) -> None:
        """Mark a path as taken."""
        self.paths.append(np.broadcast_to(path, (len(self.times), 2)))
        self.radii.append(radius)

    def find(
        self,
        rng: np.random.Generator,
        track: Track,
        radius: float,
        depth: float,
        meet: tuple[int, NDArray, float] | None = None,
        tries: int = 20,
    ) -> Placed:
        """The best of some random places.

        Args:
            rng: Source of randomness.
            track: How the body moves.
            radius: Metres.
            depth: Wanted distance from the camera when in view, metres.
            meet: (frame, (2,) place, heading) to pass near, for crossings.
            tries: How many places to compare.

        Returns:
            The place with the smallest penalty, cut off at the walls.
        """
        frames = rng.integers(0, len(self.times), tries)
        columns, depths = rng.uniform(0.08, 0.92, tries), depth * rng.uniform(0.8, 1.25, tries)
        anchors = self.ground_points(frames, columns, depths)
        right = self.camera.world_from_camera[frames][:, [2, 0], 0]
        sideways = np.arctan2(right[:, 0], right[:, 1]) + rng.choice([0.0, np.pi], tries) + rng.normal(0, 0.45, tries)
        headings = np.where(rng.random(tries) < 0.65, sideways, rng.uniform(0, 2 * np.pi, tries))
        if meet is not None:
            frames[:] = meet[0]
            anchors = (
                meet[1] + rng.normal(0, 0.25, (tries, 2)) + 1.6 * radius * np.array([-np.sin(meet[2]), np.cos(meet[2])])
            )
            headings = meet[2] + np.pi + rng.normal(0, 0.4, tries)
        local = track.plane(self.times)
        moved = local[None] - local[frames][:, None]
        c, s = np.cos(headings)[:, None], np.sin(headings)[:, None]
        paths = anchors[:, None] + np.stack(
            [c * moved[..., 0] - s * moved[..., 1], s * moved[..., 0] + c * moved[..., 1]], -1
        )
        penalty = self.penalties(paths, radius)
        best = int(penalty.argmin())
        path = np.clip(paths[best], self.low + radius, np.maximum(self.high - radius, self.low + radius))
        return Placed(path, float(headings[best]), float(penalty[best]))

    def penalties(self, paths: NDArray, radius: float) -> NDArray[np.float64]:
        """(M,) penalties of (M, T, 2) paths: metres beyond the walls, near the camera and inside others."""
        beyond = np.maximum(self.low + radius - paths, paths - (self.high - radius)).clip(0).max((1, 2))
        eye = np.hypot(*np.moveaxis(paths - self.camera.positions[:, [0, 2]], -1, 0)).min(1)
        penalty = beyond + 4 * (radius + CLEARANCE - eye).clip(0)
        if self.paths:
            others, radii = np.stack(self.paths), np.array(self.radii)
            gap = paths[:, None] - others[None]
            nearest = np.sqrt((gap**2).sum(-1).min(2))
            penalty += 0.7 * (0.85 * (radius + radii) - nearest).clip(0).sum(1)
        return penalty
