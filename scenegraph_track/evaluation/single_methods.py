"""The methods that `eval single` compares: our target model, if its weights are at hand, and baselines."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from geometry.errors import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_baselines import SingleMethod, opencv_methods, simple_methods

if TYPE_CHECKING:
    from scenegraph_track.language.reading import Reader

TARGET = "target"
"""Name of our target model among the methods."""

EMBEDDED = "embedded"
"""Name of the weights that ship."""

NL, NL_BBOX = "NL", "NL+BBox"
"""Names of the target model begun by a sentence, and by a box and helped by a sentence."""


def target_method(weights: str | None = None) -> SingleMethod | None:
    """Our target model.

    Args:
        weights: A file, or "embedded"; None: embedded, if they ship.

    Returns:
        The method; None where no weights are asked for and none ship.

    Raises:
        UserError: The weights are not there or do not fit, or this version has no target model.
    """
    from scenegraph_track.target import embedded

    file = None if weights in (None, EMBEDDED) else weights
    if file is None and not embedded.SHIPPED.is_file():
        if weights is None:
            return None
        raise UserError(f"weights {weights}: no trained target model ships with this version")
    try:
        from scenegraph_track.target.single import SingleTracker
    except ModuleNotFoundError as error:
        if error.name != "scenegraph_track.target.single":
            raise
        raise UserError("this version cannot follow a single target with its target models yet") from None
    try:
        return SingleTracker.load(file)
    except GeometryError as error:
        raise UserError(str(error)) from None


def language_methods(text: str, weights: str | None, language: str) -> dict[str, SingleMethod]:
    """Our target model by the box of the first frame, by it and a sentence, and by the sentence alone.

    Args:
        text: The sentence.
        weights: See `target_method`.
        language: Weights of the language network: a file, or "embedded".

    Raises:
        UserError: No target model or no language network is there, or weights do not fit.
    """
    from scenegraph_track.language.single import TextTracker
    from scenegraph_track.language.steering import Guide
    from scenegraph_track.target.single import SingleTracker

    ours = _loaded_target(weights)
    if not isinstance(ours, SingleTracker):
        raise UserError("sentences need a target model: none ships with this version")
    guide = Guide(_loaded_reader(language), text)
    both = {NL_BBOX: TextTracker(ours, guide, told=True), NL: TextTracker(ours, guide, told=False)}
    return {TARGET: ours, **both}


@lru_cache(maxsize=2)
def _loaded_target(weights: str | None) -> SingleMethod | None:
    return target_method(weights)


@lru_cache(maxsize=2)
def _loaded_reader(weights: str) -> Reader:
    from scenegraph_track.language.reading import Reader

    return Reader.load(weights)


def baseline_methods() -> dict[str, SingleMethod]:
    """The baselines by name, those of OpenCV as far as it brings them."""
    return {**simple_methods(), **opencv_methods()[0]}


def single_methods(weights: str | None = None) -> dict[str, SingleMethod]:
    """All methods by name, our target model first, if there is one.

    Args:
        weights: See `target_method`.
    """
    ours = target_method(weights)
    return {**({} if ours is None else {TARGET: ours}), **baseline_methods()}
