"""Worlds that several tests look at: clean images, so that only geometry changes the colours."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scenegraph_track.data.worlds import WorldClip, clean, render, sample_scene


def clean_clip(preset: str, seed: int, frames: int = 8, size: tuple[int, int] = (160, 120)) -> WorldClip:
    scene = sample_scene(preset, "train", seed, size, frames, 10.0)
    return render(replace(scene, photometry=clean(frames)))


@pytest.fixture(scope="session")
def clips() -> list[WorldClip]:
    return [clean_clip("standard", seed) for seed in range(6)]


@pytest.fixture(scope="session")
def static_clips() -> list[WorldClip]:
    return [clean_clip("static", seed) for seed in range(6)]
