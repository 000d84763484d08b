"""The error of this package."""

from geometry.errors import GeometryError


class DetectorError(GeometryError):
    """Something that was given does not fit, said in one sentence; caught wherever those of `geometry` are."""
