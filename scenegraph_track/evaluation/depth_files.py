"""Depth maps in files, of whatever method, beside the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scenegraph_track.data.rgbd import read_depth
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.geometry import DepthFigures, depth_figures


def compare_folders(truth: Path, results: Path, median_scaling: bool = True) -> dict[str, DepthFigures]:
    """Figures of each depth map by name.

    Args:
        truth: A folder of 16 bit images in millimetres, or one that holds them in ``depth/``.
        results: ``<name>.npy`` (H, W) or ``<name>.png`` like the truth, for all of its images or some.
        median_scaling: Whether the scale is free.

    Raises:
        UserError: A folder or file is missing or malformed, or no names agree.
    """
    folder = truth / "depth" if (truth / "depth").is_dir() else truth
    for needed in (folder, results):
        if not needed.is_dir():
            raise UserError(f"{needed}: no such folder")
    truths = {path.stem: path for path in sorted(folder.glob("*.png"))}
    found = {path.stem: path for path in sorted(results.iterdir()) if path.suffix in (".npy", ".png")}
    common = [name for name in truths if name in found]
    if not common:
        raise UserError(f"{results}: expected depth named as in {folder} (<name>.npy or <name>.png), found none")
    return {name: _compare(found[name], truths[name], median_scaling) for name in common}


def _compare(result: Path, truth: Path, median_scaling: bool) -> DepthFigures:
    try:
        return depth_figures(_read(result), read_depth(truth), median_scaling=median_scaling)
    except UserError as error:
        raise error if str(result.parent) in str(error) else UserError(f"{result}: {error}") from None


def _read(path: Path) -> NDArray:
    if path.suffix == ".png":
        return read_depth(path)
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float64)
    except (ValueError, OSError, EOFError):
        raise UserError(f"{path}: expected an array of depth as .npy") from None
