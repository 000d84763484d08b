"""Many sequences, one after the other, in several processes or on a cluster; the results are the same bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from geometry.errors import GeometryError
from scenegraph_track.cli import manifest
from scenegraph_track.cli.console import FAILED, USAGE, sentence, wrong_usage
from scenegraph_track.cli.crew import ALONE, Crew, Died, execute, warn
from scenegraph_track.cli.manifest import Manifest
from scenegraph_track.cli.progress import progress_bar
from scenegraph_track.config import Config
from scenegraph_track.data.sequences import Sequence
from scenegraph_track.errors import UserError
from scenegraph_track.tracking.outputs import Outputs
from scenegraph_track.tracking.run import RunOptions, RunReport, Tick, recipe, run_sequence, tracker_of
from scenegraph_track.tracking.tracker import Tracker


@dataclass(frozen=True)
class Failure:
    """What became of a sequence that could not be done.

    Args:
        text: Why, a sentence.
        code: The exit code that says as much.
    """

    text: str
    code: int = FAILED


Outcome = RunReport | Failure
"""What became of a sequence."""


@dataclass(frozen=True)
class Batch:
    """What all sequences of one call share.

    Args:
        config: Settings.
        folder: Where the results go.
        options: What is wanted.
        crew: Who works.
        quiet: Show no progress.
    """

    config: Config
    folder: Path
    options: RunOptions
    crew: Crew = ALONE
    quiet: bool = False

    @cached_property
    def _tracker(self) -> Tracker:
        """One for all sequences of a process, which loads its networks once."""
        return tracker_of(self.config, self.options)

    def finished(self, sequence: Sequence, overwrite: bool = False) -> bool:
        """Whether there is nothing left to do; see :meth:`Outputs.finished` for what it refuses."""
        outputs = Outputs(self.folder, sequence.name)
        return outputs.finished(recipe(sequence, self.config, self.options), self.options.suffixes, overwrite)

    def run(self, sequences: list[Sequence], finished: list[Sequence]) -> Iterator[tuple[Sequence, Outcome]]:
        """Run the sequences and yield what became of each, as they end.

        Where there are several, what became of each also stands in the folder (see ``cli.manifest``).

        Args:
            sequences: What to run.
            finished: What is done already.
        """
        passes = 2 if self.options.horizon and self.options.save_video else 1
        lengths = [sequence.length for sequence in sequences]
        frames = None if None in lengths else passes * sum(length or 0 for length in lengths)
        kept = Manifest(self.folder) if sequences and len(sequences) + len(finished) > 1 else None
        if kept is not None:
            done = {sequence.name: Outputs(self.folder, sequence.name).frames for sequence in finished}
            kept.begin((sequence.name for sequence in sequences), done)
        try:
            with progress_bar(frames, len(sequences), self.quiet) as bar:
                for told in execute(self.one, sequences, self.crew, bar.advance):
                    sequence = sequences[told.index]
                    if isinstance(told, Died):
                        if kept is not None:
                            kept.tell(sequence.name, retried=told.deaths - told.given_up)
                        if not told.given_up:
                            warn(f"{sequence.path}: the process that worked on it died; it is begun anew")
                            continue
                    outcome = _given_up(sequence, told) if isinstance(told, Died) else told.result
                    if kept is not None:
                        kept.tell(sequence.name, **_facts(outcome))
                    bar.ended()
                    yield sequence, outcome
        finally:
            if kept is not None:
                kept.write()

    def one(self, sequence: Sequence, tick: Tick) -> Outcome:
        """Run one sequence in this process."""
        try:
            return run_sequence(sequence, self.config, self.folder, self.options, tick, self._tracker)
        except (UserError, GeometryError, OSError) as error:
            return Failure(sentence(error), USAGE if wrong_usage(error) else FAILED)


def _given_up(sequence: Sequence, died: Died) -> Failure:
    return Failure(f"{sequence.path}: the process that worked on it died {died.deaths} times (out of memory?)")


def _facts(outcome: Outcome) -> dict[str, str | int]:
    """What the manifest says of a sequence that has ended."""
    if isinstance(outcome, Failure):
        return {"state": manifest.FAILED, "error": outcome.text}
    return {"state": manifest.DONE, "frames": outcome.frames}
