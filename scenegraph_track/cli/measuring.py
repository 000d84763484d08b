"""Clips measured one after the other or in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from geometry.errors import GeometryError
from scenegraph_track.cli.console import err, usage
from scenegraph_track.cli.progress import progress_bar
from scenegraph_track.cli.spread import spread
from scenegraph_track.config import load_config
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import Source, prior_for
from scenegraph_track.evaluation.estimators import NONE, Choice, Estimators, load_estimators
from scenegraph_track.evaluation.jobs import Job
from scenegraph_track.evaluation.tally import Tally
from scenegraph_track.evaluation.trajectories import Followed

Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Measuring:
    """Clips, what is used on them, and the number of processes."""

    job: Job
    estimators: Estimators
    workers: int

    @classmethod
    def prepare(
        cls,
        source: Source,
        flow: str | None,
        depth: str | None,
        config: str | None,
        weights: list[Path] | None,
        workers: int,
        prior: str | None = None,
    ) -> Measuring:
        """Load the estimators, so that what is wrong with them is said first.

        Args:
            source: Clips.
            flow: See `Choice`.
            depth: See `Choice`.
            config: A configuration whose section ``geometry``, if it asks for a flow, says what is not given.
            weights: See `Choice`.
            workers: Processes.
            prior: Kind of training worlds of the mean depth map; None where none is needed.

        Raises:
            UserError: Something is not there or does not fit.
        """
        with usage(), _plain():
            settings = None if config is None else load_config(config).geometry
            if settings is not None and settings.flow != NONE:
                flow, depth = flow or settings.flow, depth or settings.depth
            choice = Choice(flow, depth, tuple(str(path) for path in weights or ()))
            estimators = load_estimators(choice)
        with err().status("mean depth map of training worlds"):
            made = None if prior is None else prior_for(source, prior)
        return cls(Job(source, choice, made), estimators, workers)

    def measure(
        self, what: Literal["flow", "depth", "pose"], report: Callable[[Tally], Figures], drawn: int
    ) -> tuple[Figures, dict[str, Figures], list[dict[str, NDArray]]]:
        """Measure all clips.

        Args:
            what: Method of `Job`.
            report: Figures of measurements.
            drawn: Of so many first clips the maps are returned.

        Returns:
            Figures of all clips together, those of each by its name, and the maps.
        """
        source, tallies, shown = self.job.source, {}, []
        job = Job(source, self.job.choice, self.job.prior, drawn)
        with _plain(), progress_bar(len(source), len(source)) as bar:
            for name, tally, maps in spread(getattr(job, what), range(len(source)), self.workers):
                tallies[name] = tally
                shown += [maps] if maps else []
                bar.advance(1)
                bar.ended()
        return report(Tally.join(tallies.values())), {name: report(one) for name, one in tallies.items()}, shown

    def follow(self, most: int) -> list[Followed]:
        """Follow the camera through the first clips in which it translates."""
        source = self.job.source
        clips = [k for k in range(source.long_clips if most else 0) if source.moves(k)][:most]
        with _plain(), err().status("following the camera through whole clips"):
            found = list(spread(self.job.follow, clips, self.workers))
        return [one for one in found if one is not None]

    def about(self) -> Figures:
        """What the figures are of."""
        return {"sequences": len(self.job.source), "measured_on": str(self.job.source), "uses": self.estimators.names}


@contextmanager
def _plain() -> Iterator[None]:
    """What the geometry package finds wrong, as an error of this one."""
    try:
        yield
    except GeometryError as error:
        raise UserError(str(error)) from None
