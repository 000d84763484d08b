"""Clips measured one after the other or in several processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from detectors.errors import DetectorError
from geometry.errors import GeometryError
from scenegraph_track.cli.console import BadUsage, choose, err, usage
from scenegraph_track.cli.crew import Crew
from scenegraph_track.cli.progress import progress_bar
from scenegraph_track.cli.spread import spread
from scenegraph_track.cli.synth import parse_size
from scenegraph_track.config import load_config
from scenegraph_track.data.worlds import PRESETS, SPLITS
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.clips import Recording, Source, Worlds, prior_for
from scenegraph_track.evaluation.estimators import NONE, Choice, Estimators, load_estimators
from scenegraph_track.evaluation.jobs import Job
from scenegraph_track.evaluation.object_clips import Videos
from scenegraph_track.evaluation.tally import Tally
from scenegraph_track.evaluation.trajectories import Followed

Figures = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Measuring:
    """Clips, what is used on them, and the who measures."""

    job: Job
    estimators: Estimators
    workers: Crew

    @classmethod
    def prepare(
        cls,
        source: Source | Videos,
        flow: str | None,
        depth: str | None,
        config: str | None,
        weights: list[Path] | None,
        workers: Crew,
        prior: str | None = None,
        detector: str | None = None,
    ) -> Measuring:
        """Load the estimators, so that what is wrong with them is said first.

        Args:
            source: Clips.
            flow: See `Choice`.
            depth: See `Choice`.
            config: A configuration whose section ``geometry``, if it asks for a flow, says what is not given.
            weights: See `Choice`.
            workers: Who measures.
            prior: Kind of training worlds of the mean depth map; None where none is needed.
            detector: See `Job`.

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
        return cls(Job(source, choice, made, detector=detector), estimators, workers)

    def measure(
        self, what: Literal["flow", "depth", "pose", "objects"], report: Callable[[Tally], Figures], drawn: int
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
        job = replace(self.job, drawn=drawn)
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


def choose_source(
    folder: Path | None,
    preset: str,
    split: str | None,
    sequences: int | None,
    frames: int | None,
    size: str | None,
    worlds: type[Worlds] = Worlds,
    recorded: Callable[[Path], Any] = Recording,
) -> Any:
    """What is measured on, as options say.

    Args:
        folder: A recording, or None for worlds.
        preset: Kind of worlds.
        split: Part of them; None: test.
        sequences: How many; None: 40.
        frames: Frames of each; None: as the preset says.
        size: "WxH"; None: 128x128.
        worlds: Makes the source of worlds.
        recorded: Makes the source of a folder.

    Raises:
        BadUsage: A name is unknown, or an option does not go with a folder.
    """
    choose("--preset", preset, PRESETS)
    if folder is None:
        choose("--split", split, SPLITS)
        return worlds(preset, split or "test", sequences or 40, parse_size(size or "128x128"), frames)
    given = {"--split": split, "--sequences": sequences, "--frames": frames, "--size": size}
    unfit = [option for option, value in given.items() if value is not None]
    if unfit:
        raise BadUsage(f"{unfit[0]}: goes with worlds, not with a folder")
    with usage():
        source = recorded(folder)
        len(source)
    return source


@contextmanager
def _plain() -> Iterator[None]:
    """What the packages beneath find wrong, as an error of this one."""
    try:
        yield
    except (GeometryError, DetectorError) as error:
        raise UserError(str(error)) from None
