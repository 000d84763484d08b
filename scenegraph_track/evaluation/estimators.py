"""Which flow and which networks an evaluation of geometry uses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from geometry.completion import DepthEstimator
from geometry.embedded import LearnedFlow, depth_estimator, flow_estimator, pose_net
from geometry.errors import GeometryError
from geometry.flow import METHODS, FlowEstimator
from geometry.pose_net import PoseNet
from geometry.weights import embedded_weights, read_metadata
from scenegraph_track.errors import UserError

EMBEDDED, NONE = "embedded", "none"
FALLBACK = "dis_fine"
"""Flow where none is named and no trained network ships."""


@dataclass(frozen=True)
class Choice:
    """What is asked for.

    Args:
        flow: A DIS of `METHODS` or "embedded" (the network); None for the network where its weights are at hand, else
            `FALLBACK`.
        depth: "embedded", "none", or a model of `transformers` by hub id or folder; None for the network where its
            weights are at hand, else none.
        weights: Files that hold other weights of one or more of the networks.
    """

    flow: str | None = None
    depth: str | None = None
    weights: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Estimators:
    """What is used.

    Args:
        flow: For depth and camera motion.
        learned_flow: The flow network, where its weights are at hand.
        depth: The single-image network, or None.
        pose: The pose network, or None.
        names: What each of "flow", "depth" and "pose" is, for people.
    """

    flow: str | FlowEstimator
    learned_flow: LearnedFlow | None
    depth: DepthEstimator | None
    pose: PoseNet | None
    names: dict[str, str]


@lru_cache(maxsize=1)
def load_estimators(choice: Choice) -> Estimators:
    """Load what a choice asks for, once in a process.

    Raises:
        UserError: Something that is asked for by name is not there or does not fit.
    """
    try:
        return _load(choice)
    except GeometryError as error:
        raise UserError(str(error)) from None


def _load(choice: Choice) -> Estimators:
    given = _parts(choice.weights)
    learned = _optional("flow", flow_estimator, given, choice.flow == EMBEDDED)
    pose = _optional("pose", pose_net, given, False)
    if choice.flow not in (None, *METHODS):
        raise UserError(f"flow {choice.flow}: expected one of {', '.join(METHODS)}")
    named = choice.flow or (EMBEDDED if learned else FALLBACK)
    flow = learned if named == EMBEDDED and learned is not None else named
    if choice.depth == NONE:
        depth = None
    elif choice.depth in (None, EMBEDDED):
        depth = _optional("depth", depth_estimator, given, choice.depth == EMBEDDED)
    else:
        from geometry.pretrained_depth import PretrainedDepth

        depth = PretrainedDepth.load(choice.depth)
    names = {
        "flow": given.get("flow", named) if named == EMBEDDED else named,
        "depth": NONE if depth is None else choice.depth or given.get("depth", EMBEDDED),
        "pose": NONE if pose is None else given.get("pose", EMBEDDED),
    }
    return Estimators(flow, learned, depth, pose, names)


def networks_in(file: str) -> set[str]:
    """Names of the networks of which a file holds weights.

    Raises:
        GeometryError: The file is missing or no safetensors file.
    """
    from safetensors import safe_open

    read_metadata(file)
    with safe_open(file, framework="pt") as opened:
        return {name.partition(".")[0] for name in opened.keys()}  # noqa: SIM118


def _parts(files: tuple[str, ...]) -> dict[str, str]:
    """The file that holds the weights of each network."""
    found: dict[str, str] = {}
    for file in files:
        held = networks_in(file) & {"flow", "depth", "pose"}
        if not held:
            raise GeometryError(f"{file}: expected weights of a network for flow, depth or pose, found none")
        found |= dict.fromkeys(held, file)
    return found


def _optional(name: str, build: Callable[..., Any], given: dict[str, str], required: bool) -> Any:
    """A network with the weights that were given or ship; None where there are none and it is not asked for."""
    if name in given:
        return build(given[name])
    try:
        path = embedded_weights(name)
    except GeometryError:
        if required:
            raise GeometryError(f"no trained network for {name} ships with this version: give --weights") from None
        return None
    return build(path)
