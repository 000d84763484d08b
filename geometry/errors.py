"""The one error that this package raises for what its caller can put right."""

from __future__ import annotations


class GeometryError(ValueError):
    """A wrong shape, value or file, as one clear sentence."""
