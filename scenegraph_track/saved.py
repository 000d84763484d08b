"""A tracker as a folder: its settings, every file of weights that they name, and what is known of them.

The folder holds ``config.yaml``, the weights, whose paths in it are relative to the folder, ``README.md`` (the model
card) and ``config.json``, by which the hub knows what the folder is.
"""

from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

from geometry.errors import GeometryError
from geometry.weights import read_metadata
from scenegraph_track.config import SAVED, WEIGHTS_SUFFIX, Config, dump_config, parse_config
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write
from scenegraph_track.model_card import model_card
from scenegraph_track.version import __version__

HUB_KEYS = ("detector.weights", "detector.backbone", "geometry.depth")
"""Settings that may name a model of the hub, which stays there."""

_SHIPPED = {
    "tracker.graph.weights": ("scenegraph_track", "weights", "graph"),
    "tracker.scene.weights": ("scenegraph_track", "weights", "scene"),
    "tracker.occlusion.weights": ("scenegraph_track", "weights", "surface"),
    "tracker.appearance.weights": ("scenegraph_track", "weights", "target"),
    "target.weights": ("scenegraph_track", "weights", "target"),
    "language.weights": ("scenegraph_track", "weights", "language"),
    "detector.weights": ("detectors", "trained", "detector"),
    "geometry.flow": ("geometry", "trained", "flow"),
    "geometry.depth": ("geometry", "trained", "depth"),
}
"""Package, folder and name of what "embedded" means."""


def used_weights(config: Config) -> dict[str, str]:
    """What the settings that name weights say, by their key, as far as this configuration uses them."""
    tracker, found = config.tracker, {}
    found["tracker.graph.weights"] = tracker.graph.weights
    found["tracker.scene.weights"] = tracker.scene.weights
    found["tracker.occlusion.weights"] = tracker.occlusion.weights
    if tracker.appearance.kind in ("target", "both"):
        found["tracker.appearance.weights"] = tracker.appearance.weights
    if config.detector.kind != "none":
        found["detector.weights"] = config.detector.weights
    if config.detector.kind == "slots":
        found["detector.backbone"] = _backbone(config)
    if config.geometry.flow == "embedded" or config.geometry.flow.endswith(WEIGHTS_SUFFIX):
        found["geometry.flow"] = config.geometry.flow
    if config.geometry.flow != "none":
        found["geometry.depth"] = config.geometry.depth
    found["target.weights"] = config.target.weights
    found["language.weights"] = config.language.weights
    return {key: value for key, value in found.items() if value not in ("none", "hub")}


def gather(config: Config) -> tuple[Config, dict[str, Path]]:
    """The settings as they stand in a folder of their own, and what has to be copied there, by its name in the folder.

    Args:
        config: Names weights that ship ("embedded"), files and folders, and models of the hub, which stay there.

    Raises:
        UserError: A file or folder is missing, or a file is not safetensors.
    """
    values, files = config.model_dump(), {}
    for key, named in used_weights(config).items():
        source = shipped_weights(key, config) if named == "embedded" else Path(named).expanduser()
        if not source.exists():
            if key in HUB_KEYS and not named.endswith(WEIGHTS_SUFFIX):
                continue
            raise UserError(f"{key}: {source}: no such file of weights")
        if source.is_file():
            try:
                read_metadata(source)
            except GeometryError as error:
                raise UserError(f"{key}: {error}") from None
        same = next((name for name, other in files.items() if other == source), None)
        part, setting = key.split(".")[-2:]
        name = same or (part if setting == "weights" else setting) + (WEIGHTS_SUFFIX if source.is_file() else "")
        files[name] = source
        *parents, last = key.split(".")
        group: Any = values
        for parent in parents:
            group = group[parent]
        group[last] = name
    return parse_config(values), files


def write_folder(config: Config, folder: Path) -> None:
    """Fill an empty folder; see the module.

    Raises:
        UserError: As for `gather`.
    """
    relative, files = gather(config)
    for name, source in files.items():
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, folder / name)
    with atomic_write(folder / SAVED) as file:
        file.write(dump_config(relative))
    with atomic_write(folder / "config.json") as file:
        json.dump({"library_name": "scenegraph-track", "version": __version__, "settings": SAVED}, file, indent=2)
    with atomic_write(folder / "README.md") as file:
        file.write(model_card({name: folder / name for name in files}, dump_config(relative)))


def shipped_weights(key: str, config: Config) -> Path:
    """The file that "embedded" means in a setting that names weights.

    Raises:
        UserError: None ships.
    """
    package, folder, name = _SHIPPED[key]
    if key == "tracker.occlusion.weights" and config.tracker.occlusion.by == "points":
        name = "occlusion"
    path = Path(str(resources.files(package))) / folder / f"{name}{WEIGHTS_SUFFIX}"
    if not path.is_file():
        raise UserError(f"{key}: no such weights ship with this version, expected a file")
    return path


def _backbone(config: Config) -> str:
    """Where the pretrained features of a slot detector come from; "none" where it has none."""
    from detectors.embedded import detector_recipe

    named = config.detector.weights
    try:
        recipe = detector_recipe(shipped_weights("detector.weights", config) if named == "embedded" else named)
    except GeometryError as error:
        raise UserError(f"detector.weights: {error}") from None
    if recipe.get("backbone") is None:
        return "none"
    return recipe.get("backbone_weights", "hub") if config.detector.backbone == "recipe" else config.detector.backbone
