"""Discover the objects of a video, keep a scene graph of them through time, keep identities through occlusion."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scenegraph_track.version import __version__

if TYPE_CHECKING:
    from scenegraph_track.data.video import read_video
    from scenegraph_track.structures import Detections, Frame, SceneGraph, TrackerState, Tracks
    from scenegraph_track.tracking.tracker import Tracker

_WHERE = {
    "Detections": "structures",
    "Frame": "structures",
    "SceneGraph": "structures",
    "Tracker": "tracking.tracker",
    "TrackerState": "structures",
    "Tracks": "structures",
    "read_video": "data.video",
}

__all__ = ["Detections", "Frame", "SceneGraph", "Tracker", "TrackerState", "Tracks", "__version__", "read_video"]


def __getattr__(name: str) -> Any:
    """Load the public names when they are first used, so that importing the package is quick."""
    if name in _WHERE:
        return getattr(import_module(f"scenegraph_track.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'scenegraph_track' has no attribute {name!r}")
