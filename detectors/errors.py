"""The error of this package."""


class DetectorError(ValueError):
    """Something that was given does not fit, said in one sentence."""
