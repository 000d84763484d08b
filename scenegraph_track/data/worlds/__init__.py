"""Seeded synthetic video with exact ground truth: ``render(sample_scene("standard", "train", seed=7))``."""

from scenegraph_track.data.worlds.families import SPLITS
from scenegraph_track.data.worlds.presets import PRESETS, Preset
from scenegraph_track.data.worlds.render import WorldClip, WorldFrame, iter_frames, render
from scenegraph_track.data.worlds.sample import sample_scene
from scenegraph_track.data.worlds.scene import STATIC_LABEL, Scene, Thing, clean
from scenegraph_track.data.worlds.truth import RELATIONS

__all__ = [
    "PRESETS",
    "RELATIONS",
    "SPLITS",
    "STATIC_LABEL",
    "Preset",
    "Scene",
    "Thing",
    "WorldClip",
    "WorldFrame",
    "clean",
    "iter_frames",
    "render",
    "sample_scene",
]
