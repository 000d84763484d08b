"""Networks of points, visibility and surfaces that ship with the package, or of other weights, ready to use."""

from __future__ import annotations

from pathlib import Path

from geometry.weights import load_weights
from scenegraph_track.occlusion.occu_solver import OccuSolver, OccuSolverSettings
from scenegraph_track.occlusion.point_net import PointNet, PointNetSettings
from scenegraph_track.occlusion.surface_net import SurfaceNet, SurfaceNetSettings
from scenegraph_track.trained import recipe_settings, weights_file

SHIPPED = Path(__file__).parents[1] / "weights" / "points.safetensors"
"""Weights of the point tracker that ship."""

SHIPPED_SOLVER = SHIPPED.with_name("occlusion.safetensors")
"""Weights of OccuSolver that ship, for that point tracker."""

SHIPPED_SURFACE = SHIPPED.with_name("surface.safetensors")
"""Weights of the surface network that ship."""


def point_network(path: str | Path | None = None) -> PointNet:
    """A trained point network, built as its weights file says, in evaluation mode.

    Args:
        path: Weights in place of those that ship.

    Raises:
        UserError: No weights ship, or the recipe in the file does not describe a `PointNet`.
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
    """
    file = weights_file(path, SHIPPED, "point tracker", "points")
    net = PointNet(recipe_settings(file, "point_net", PointNetSettings))
    load_weights(net, file, "points")
    return net.eval().requires_grad_(False)


def solver_network(points: PointNet, path: str | Path | None = None) -> OccuSolver:
    """A trained OccuSolver, built as its weights file says, in evaluation mode.

    Args:
        points: The point network that it was trained on top of.
        path: Weights in place of those that ship.

    Raises:
        UserError: No weights ship, or the recipe in the file does not describe an `OccuSolver`.
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
    """
    file = weights_file(path, SHIPPED_SOLVER, "OccuSolver", "occlusion")
    own = points.settings
    solver = OccuSolver(own.dim, own.window, recipe_settings(file, "occu_solver", OccuSolverSettings))
    load_weights(solver, file, "occlusion")
    return solver.eval().requires_grad_(False)


def surface_network(path: str | Path | None = None) -> SurfaceNet:
    """A trained surface network, built as its weights file says, in evaluation mode.

    Args:
        path: Weights in place of those that ship.

    Raises:
        UserError: No weights ship, or the recipe in the file does not describe a `SurfaceNet`.
        GeometryError: The file is missing or is no weights file, or the weights do not fit.
    """
    file = weights_file(path, SHIPPED_SURFACE, "surface network", "surface")
    net = SurfaceNet(recipe_settings(file, "surface_net", SurfaceNetSettings))
    load_weights(net, file, "surface")
    return net.eval().requires_grad_(False)
