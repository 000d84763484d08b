"""What is measured of one clip of a source, for one process of many."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import NDArray
from torch import Tensor

from scenegraph_track.evaluation.clips import Source
from scenegraph_track.evaluation.depth import measure_depth
from scenegraph_track.evaluation.estimators import Choice, load_estimators
from scenegraph_track.evaluation.flow import DIS, LEARNED, measure_flow
from scenegraph_track.evaluation.object_clips import ObjectWorlds, Videos
from scenegraph_track.evaluation.object_methods import object_methods
from scenegraph_track.evaluation.objects import measure_objects
from scenegraph_track.evaluation.pose import measure_pose
from scenegraph_track.evaluation.tally import Tally
from scenegraph_track.evaluation.trajectories import Followed, follow_clip

Measured = tuple[str, Tally, dict[str, NDArray]]
"""Name of the clip, its measurements, and what may be drawn of it."""


@dataclass(frozen=True, eq=False)
class Job:
    """What all clips of one call share.

    Args:
        source: The clips.
        choice: Flow and networks.
        prior: (H, W) mean depth map, where it is needed.
        drawn: Of so many first clips the maps are kept to be drawn.
        detector: Weights of the learned detector in place of those that ship.
    """

    source: Source | Videos
    choice: Choice
    prior: Tensor | None = None
    drawn: int = 0
    detector: str | None = None

    def flow(self, k: int) -> Measured:
        """Measure flow on the k-th clip."""
        clip, learned = self.source.clip(k), load_estimators(self.choice).learned_flow
        methods = {} if learned is None else {LEARNED: learned}
        tally, maps = measure_flow(clip, {**methods, **{name: name for name in DIS}})
        return clip.name, tally, maps if k < self.drawn else {}

    def depth(self, k: int) -> Measured:
        """Measure depth on the k-th clip."""
        clip, used = self.source.clip(k), load_estimators(self.choice)
        assert self.prior is not None
        tally, maps = measure_depth(clip, used.flow, used.depth, self.prior)
        return clip.name, tally, maps if k < self.drawn else {}

    def pose(self, k: int) -> Measured:
        """Measure camera motion on the k-th clip."""
        clip = self.source.clip(k)
        assert self.prior is not None
        return clip.name, measure_pose(clip, load_estimators(self.choice), self.prior), {}

    def objects(self, k: int) -> Measured:
        """Measure how objects are found on the k-th clip."""
        assert isinstance(self.source, ObjectWorlds | Videos)
        clip = self.source.object_clip(k, load_estimators(self.choice))
        tally, maps = measure_objects(clip, object_methods(self.detector))
        return clip.name, tally, maps if k < self.drawn else {}

    def follow(self, k: int) -> Followed | None:
        """Follow the camera through the k-th long clip."""
        assert self.prior is not None
        return follow_clip(self.source.long_clip(k), load_estimators(self.choice), self.prior)
