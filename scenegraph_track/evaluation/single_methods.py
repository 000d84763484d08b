"""The methods that `eval single` compares: our target model, if its weights are at hand, and baselines."""

from __future__ import annotations

from geometry.errors import GeometryError
from scenegraph_track.errors import UserError
from scenegraph_track.evaluation.single_baselines import SingleMethod, opencv_methods, simple_methods

TARGET = "target"
"""Name of our target model among the methods."""

EMBEDDED = "embedded"
"""Name of the weights that ship."""


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
