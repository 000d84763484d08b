"""Parameters that are drawn per sequence: each field states the range it is drawn from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


@dataclass(frozen=True)
class Span:
    """A range of numbers; the held-out split draws from a wider one.

    Args:
        low: Lower end.
        high: Upper end.
        log: Draw uniformly in the logarithm.
        limits: Values outside are never drawn, however wide the range is made.
    """

    low: float
    high: float
    log: bool = False
    limits: tuple[float, float] = (-np.inf, np.inf)

    def draw(self, rng: np.random.Generator, widen: float) -> float:
        """Draw a number from the range made wider by ``widen`` times its length at both ends."""
        u = rng.uniform(-widen, 1 + widen)
        value = self.low * (self.high / self.low) ** u if self.log else self.low + u * (self.high - self.low)
        return float(np.clip(value, *self.limits))


@dataclass(frozen=True)
class Choice:
    """A set of values, some of which only the held-out split draws."""

    values: tuple[Any, ...]
    held_out: tuple[Any, ...] = ()

    def draw(self, rng: np.random.Generator, widen: float) -> Any:
        """Draw one of the values; the held-out ones count only if the ranges are made wider."""
        values = self.values + self.held_out if widen else self.values
        return values[rng.integers(len(values))]


def ranged(low: float, high: float, log: bool = False, limits: tuple[float, float] = (-np.inf, np.inf)) -> Any:
    """Declare a dataclass field that is drawn from a range of numbers (see `Span`)."""
    return dataclasses.field(metadata={"range": Span(low, high, log, limits)})


def choice(*values: Any, held_out: tuple[Any, ...] = ()) -> Any:
    """Declare a dataclass field that is drawn from a set of values (see `Choice`)."""
    return dataclasses.field(metadata={"range": Choice(values, held_out)})


def draw(kind: type[T], rng: np.random.Generator, overrides: Mapping[str, Span | Choice], widen: float) -> T:
    """Draw every field of a parameter class.

    Args:
        kind: Dataclass whose fields were declared by `ranged` and `choice`.
        rng: Source of randomness.
        overrides: Ranges that replace those of the class, by field name; names of other classes are skipped.
        widen: 0 for training; the held-out split makes each range wider by this share at both ends.

    Returns:
        An instance of ``kind``.
    """
    fields = dataclasses.fields(kind)
    return kind(**{f.name: overrides.get(f.name, f.metadata["range"]).draw(rng, widen) for f in fields})
