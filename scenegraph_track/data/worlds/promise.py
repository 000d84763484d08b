"""Whether a drawn world keeps what its preset promises, by looking at it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from scenegraph_track.data.worlds.hiding import longest_run
from scenegraph_track.data.worlds.raster import Studio
from scenegraph_track.data.worlds.scene import Scene
from scenegraph_track.data.worlds.truth import object_truth

_WIDTH = 64
_SEEN = 0.3
_HIDDEN = 0.005


def hides_and_shows(scene: Scene, seconds: tuple[float, float]) -> bool:
    """Whether every object placed to be hidden is out of sight for some time in ``seconds``, and seen before and after.

    Looked up in small pictures (64 pixels wide) of the scene: seen means at least 30 % of the silhouette.
    """
    scale = _WIDTH / scene.size[0]
    size = (_WIDTH, max(16, round(scene.size[1] * scale)))
    small = replace(scene.camera, intrinsics=np.diag([scale, size[1] / scene.size[1], 1.0]) @ scene.camera.intrinsics)
    studio = Studio(replace(scene, size=size, camera=small))
    shares = np.stack([object_truth(studio, studio.draw(t), t).visible_fraction for t in range(len(scene))])
    for index, thing in enumerate(scene.objects):
        if thing.attributes.role != "hider":
            continue
        share = shares[:, index]
        first, length = longest_run(share < _HIDDEN)
        seen = share > _SEEN
        before, after = seen[:first].sum(), seen[first + length :].sum()
        if min(before, after) < 2 or not seconds[0] <= length / scene.frame_rate <= seconds[1]:
            return False
    return True
