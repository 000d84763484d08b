"""What the tracker and all around it may be told: pydantic models, one complete YAML a configuration."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scenegraph_track.errors import UserError
from scenegraph_track.setting_files import overridden, read_settings, validated

FLOWS = ("none", "dis_fast", "dis_half", "dis_sparse", "dis_fine", "embedded")
"""Ways to optical flow by name."""

WEIGHTS_SUFFIX = ".safetensors"
"""How the names of files of weights end."""

SAVED = "config.yaml"
"""The settings in a folder that ``Tracker.save_pretrained`` wrote."""

WEIGHTS_KEYS = (
    *("tracker.graph.weights", "tracker.scene.weights", "tracker.occlusion.weights", "tracker.appearance.weights"),
    *("target.weights", "language.weights", "detector.weights", "detector.backbone", "geometry.flow", "geometry.depth"),
)
"""Settings that may name a file or a folder with weights."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ScoreSettings(_Settings):
    """How detection scores become surenesses in [0, 1] (see ``tracking.scores``)."""

    high: float = Field(0.6, ge=0, le=1, description="sureness from which a detection takes part in the first stage")
    low: float = Field(0.1, ge=0, le=1, description="sureness below which a detection is ignored")
    birth: float = Field(0.7, ge=0, le=1, description="sureness from which an unmatched detection starts a track")
    memory: int = Field(1024, ge=64, description="number of past detections that the calibration remembers")

    @model_validator(mode="after")
    def _ordered(self) -> ScoreSettings:
        if not self.low <= self.high <= self.birth:
            raise ValueError(f"expected low <= high <= birth, found {self.low}, {self.high}, {self.birth}")
        return self


class MotionSettings(_Settings):
    """The constant-velocity Kalman filter; lengths are in heights of the object."""

    acceleration: float = Field(0.25, gt=0, description="process noise of the centre, heights / s^1.5")
    size_change: float = Field(0.05, gt=0, description="process noise of width and height, heights / s^1.5")
    centre_noise: float = Field(0.03, gt=0, description="measurement noise of the centre, heights")
    size_noise: float = Field(0.05, gt=0, description="measurement noise of width and height, heights")
    start_speed: float = Field(1.0, gt=0, description="standard deviation of a newborn's speed, heights / s")
    adapt: bool = Field(True, description="choose the process noise by each sequence's own prediction errors")
    camera: bool = Field(True, description="follow the camera by sparse optical flow where frames are given")
    vote: bool = Field(True, description="follow jumps that most objects share where no frames are given")


class AssociationSettings(_Settings):
    """Two-stage matching by expanded overlap."""

    expansion: float = Field(0.1, ge=0, le=2, description="boxes grow by this part of their size on each side")
    gate: float = Field(0.15, ge=0, lt=1, description="least similarity in the first stage")
    still_gate: float = Field(0.3, ge=0, lt=1, description="least similarity to where a track was in the last frame")
    low_gate: float = Field(0.25, ge=0, lt=1, description="least similarity to detections of low score")
    tentative_gate: float = Field(0.3, ge=0, lt=1, description="least similarity to tentative tracks")


class LifeSettings(_Settings):
    """Birth, hiding and leaving; all horizons are in seconds."""

    confirm_hits: int = Field(2, ge=1, description="detections that confirm a track (the first frame confirms at once)")
    tentative_seconds: float = Field(0.1, ge=0, description="an unconfirmed track without detection lives this long")
    hidden_seconds: float = Field(1.0, ge=0, description="a hidden object keeps its identity this long")
    memory_seconds: float = Field(
        30.0,
        ge=0,
        description="after it left it is known again by its looks this long, where detections have embeddings",
    )
    likeness: float = Field(0.6, ge=-1, le=1, description="least cosine of appearance for that")


class ShowSettings(_Settings):
    """When a predicted or interpolated box is reported (see ``tracking.emission``)."""

    predicted: float = Field(
        0.65, ge=0, le=1, description="least P(IoU > 0.5) at which a hidden box is shown; 1: never"
    )
    interpolated: float = Field(0.5, ge=0, le=1, description="the same for boxes between two detections; 1: never")


class OfflineSettings(_Settings):
    """Linking of tracklets over gaps once the whole video is known."""

    gap_seconds: float = Field(3.0, ge=0, description="longest gap that is linked")
    link: float = Field(0.5, ge=0, le=1, description="least probability of a link")


class GraphSettings(_Settings):
    """The graph tracker, which corrects the association of the reference tracker (see ``graph.graph_tracker``)."""

    weights: str = Field("none", description="none: no correction; embedded: those that ship; or a file")
    strength: float = Field(1.0, ge=0, description="factor of the corrections")


class SceneSettings(_Settings):
    """The learned scene graph: relations, and what is told of hidden objects (see ``tracking.scene_model``)."""

    weights: str = Field("none", description="none: stated rules; embedded: those that ship; or a file")


class OcclusionSettings(_Settings):
    """The visible part of each track, where there are images (see ``tracking.visible_parts``)."""

    weights: str = Field("none", description="of what ``by`` says: none (by how boxes overlap), embedded or a file")
    by: Literal["surface", "points"] = Field(
        "surface", description="what is looked at: its surface as a whole, or points on it (OccuSolver)"
    )
    points: int = Field(16, ge=1, description="points that are followed on a track")
    stride: int = Field(2, ge=1, le=8, description="frames of points that are looked at together; 1: each by itself")
    renew: int = Field(8, ge=1, description="frames after which a track that is well seen is given anew")
    clear: float = Field(0.85, ge=0, le=1, description="visible part from which it is well seen")
    longest: int = Field(256, ge=32, description="images are reduced to this longer side, pixels")


class AppearanceSettings(_Settings):
    """What detections without embeddings look like, where there are images (see ``tracking.looks``)."""

    kind: Literal["none", "colour", "target", "both"] = Field(
        "none", description="colour: histograms; target: filters of target models; both side by side"
    )
    weights: str = Field("embedded", description="of the target models: those that ship, or a file")


class TrackerSettings(_Settings):
    """The tracker; ``reference`` is motion alone, and nothing learned unless ``graph`` says so."""

    kind: Literal["reference"] = "reference"
    scores: ScoreSettings = ScoreSettings()
    motion: MotionSettings = MotionSettings()
    association: AssociationSettings = AssociationSettings()
    life: LifeSettings = LifeSettings()
    show: ShowSettings = ShowSettings()
    offline: OfflineSettings = OfflineSettings()
    graph: GraphSettings = GraphSettings()
    scene: SceneSettings = SceneSettings()
    occlusion: OcclusionSettings = OcclusionSettings()
    appearance: AppearanceSettings = AppearanceSettings()


class GeometrySettings(_Settings):
    """Depth and camera motion besides what the frames of a caller bring; by default nothing is read or looked for."""

    measured: bool = Field(False, description="use depth and poses that lie beside the images (see ``data.measured``)")
    flow: str = Field(
        "none",
        description="optical flow to find from what is not measured (see ``geometry.video``), a file, or none",
    )
    depth: str = Field("none", description="network that guesses depth: none, embedded, a file, a hub id or a folder")
    working_size: int = Field(192, ge=32, description="images are reduced to this longer side, pixels")

    @field_validator("flow")
    @classmethod
    def _known(cls, flow: str) -> str:
        if flow not in FLOWS and not flow.endswith(WEIGHTS_SUFFIX):
            raise ValueError(f"expected one of {', '.join(FLOWS)}, or a file *{WEIGHTS_SUFFIX}")
        return flow

    @model_validator(mode="after")
    def _complete(self) -> GeometrySettings:
        if self.depth != "none" and self.flow == "none":
            known = ", ".join(FLOWS[1:])
            raise ValueError(f"expected a flow ({known}) with depth {self.depth}, found none")
        return self


class DetectorSettings(_Settings):
    """What finds objects in frames that come without detections."""

    kind: Literal["none", "slots", "transformers"] = Field(
        "none", description="slots: discovers objects without labels; transformers: a detector of that library"
    )
    weights: str = Field("embedded", description="slots: embedded or a file; transformers: a hub id or a folder")
    backbone: str = Field(
        "recipe",
        description="slots: where pretrained features of the weights come from: recipe (as in training), hub, a folder",
    )
    threshold: float = Field(0.3, ge=0, le=1, description="least score of a detection")
    classes: list[str] = Field([], description="transformers: names of the classes that are kept; empty: all")
    text: list[str] = Field([], description="transformers: what to look for, for detectors that read")
    working_size: int = Field(256, ge=32, description="slots: longer side to which images without flow are reduced")

    @model_validator(mode="after")
    def _named(self) -> DetectorSettings:
        if self.kind == "transformers" and self.weights == "embedded":
            raise ValueError("expected weights, a hub id or a folder, with kind transformers, found embedded")
        return self


class TargetSettings(_Settings):
    """Targets that a user gives to follow: ``track --init``, ``Tracker.add_target`` (see ``tracking.targets``)."""

    weights: str = Field("none", description="none: no targets; embedded: the target models that ship; or a file")
    overlap: float = Field(0.5, ge=0, le=1, description="IoU from which a target takes a detection, or a track's place")
    hidden_seconds: float = Field(1.0, ge=0, description="one that is not found is hidden this long, then it has left")
    alone: bool = Field(False, description="leave detections that lie beside a sequence aside")


class LanguageSettings(_Settings):
    """A target that a sentence gives: ``track --text`` (see ``language.steering``)."""

    weights: str = Field("none", description="none: no language; embedded: the network that ships; or a file")
    text: str = Field("", description="what is followed, in English; empty: nothing is")
    sure: float = Field(0.5, ge=0, le=1, description="least probability that it is true of what is found")
    doubt: float = Field(
        0.05, ge=0, le=1, description="below it, what is followed is doubted where it is true elsewhere"
    )
    every: int = Field(3, ge=1, description="frames between two looks for a lost or doubtful target")
    working_size: int = Field(192, ge=32, description="longer side to which images are reduced, pixels")


class Config(_Settings):
    """Everything that one run depends on besides its input."""

    tracker: TrackerSettings = TrackerSettings()
    detector: DetectorSettings = DetectorSettings()
    geometry: GeometrySettings = GeometrySettings()
    target: TargetSettings = TargetSettings()
    language: LanguageSettings = LanguageSettings()


def named_configs() -> dict[str, Path]:
    """The configurations that ship with the package, by name (the folder ``configs`` of a checkout or of the wheel)."""
    root = Path(str(resources.files("scenegraph_track")))
    for folder in (root / "configs", root.parent / "configs"):
        if folder.is_dir():
            return {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return {}


def load_config(name: str | Path = "reference", overrides: Iterable[str] = ()) -> Config:
    """Load a named configuration, a YAML file, or the settings of a folder that ``Tracker.save_pretrained`` wrote.

    Args:
        name: A name of :func:`named_configs`, or the path of a YAML file or such a folder.
        overrides: ``key.of.setting=value``, the value as YAML.

    Raises:
        UserError: No such configuration, a key that does not exist (with the nearest one), or a bad value; or weights
            of a folder are missing.
    """
    named, overrides = named_configs(), tuple(overrides)
    path = named.get(str(name)) or Path(name)
    saved = (path / SAVED).is_file()
    if not saved and not path.is_file():
        near = difflib.get_close_matches(str(name), named, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{name}: neither a named configuration ({', '.join(named)}) nor a YAML file{hint}")
    file = path / SAVED if saved else path
    values = read_settings(file)
    if saved:
        _point_into(path, values)
    return validated(Config, overridden(values, overrides), str(file), overrides=overrides)


def _point_into(folder: Path, values: dict[str, Any]) -> None:
    """Let settings that name weights in the folder say where they lie."""
    for key in WEIGHTS_KEYS:
        *parents, last = key.split(".")
        group: Any = values
        for parent in parents:
            group = group.get(parent) if isinstance(group, dict) else None
        named = group.get(last) if isinstance(group, dict) else None
        if not isinstance(named, str) or not named:
            continue
        if (folder / named).exists():
            group[last] = str(folder / named)
        elif named.endswith(WEIGHTS_SUFFIX):
            raise UserError(f"{folder / SAVED}: {key}: expected the weights {folder / named}, found no such file")


def parse_config(values: dict[str, Any], source: str = "configuration") -> Config:
    """Validate settings; errors name the key, what was expected and what was found."""
    return validated(Config, values, source)


def dump_config(config: Config) -> str:
    """The settings as YAML, complete and in the order of their definition."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False)
