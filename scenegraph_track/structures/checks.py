"""What the containers share: validation that names the field, and equality of tensors."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from scenegraph_track.errors import UserError


def fail(owner: object, name: str, expected: str, value: Any) -> None:
    """Refuse a field: which, what was expected, what was found."""
    shape = f"shape {tuple(value.shape)}" if hasattr(value, "shape") else repr(value)
    raise UserError(f"{type(owner).__name__}.{name}: expected {expected}, found {shape}")


def check_tensor(
    owner: object, name: str, shape: tuple[int | None, ...], expected: str, floating: bool | None = True
) -> None:
    """Refuse a field that is no tensor of ``shape`` (None: any size), or of another kind or not finite."""
    value = getattr(owner, name)
    if not isinstance(value, Tensor):
        raise UserError(f"{type(owner).__name__}.{name}: expected a tensor {expected}, found {type(value).__name__}")
    if value.dim() != len(shape) or any(
        want is not None and want != got for want, got in zip(shape, value.shape, strict=True)
    ):
        fail(owner, name, expected, value)
    if floating is None:
        return
    if value.is_floating_point() != floating:
        raise UserError(
            f"{type(owner).__name__}.{name}: expected {'floats' if floating else 'integers'}, found {value.dtype}"
        )
    if floating and not bool(torch.isfinite(value).all()):
        row = int((~torch.isfinite(value)).reshape(len(value), -1).any(1).nonzero()[0]) if value.dim() else 0
        raise UserError(f"{type(owner).__name__}.{name}: expected finite numbers, row {row} is {value[row].tolist()}")


def check_boxes(owner: object, boxes: Tensor) -> None:
    """Refuse boxes (N, 4) of which a right or lower edge lies before the left or upper one."""
    bad = (boxes[:, 2] < boxes[:, 0]) | (boxes[:, 3] < boxes[:, 1])
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise UserError(
            f"{type(owner).__name__}.boxes: expected x2 >= x1 and y2 >= y1 (xyxy pixels), "
            f"row {row} is {boxes[row].tolist()}"
        )


def owned(name: str, values: Any, kind: type) -> np.ndarray:
    """A copy of an array-like, so that its owner may go on writing into it; ``name`` is that of the field."""
    try:
        return np.array(np.asarray(values), dtype=kind, order="C")
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}: expected an array of numbers ({error})") from None


def owned_boxes(name: str, values: Any) -> Tensor:
    """Boxes from an array-like, where an empty one of any shape is none at all."""
    boxes = owned(name, values, np.float64)
    return torch.from_numpy(boxes if boxes.size else boxes.reshape(0, 4))


def as_tensor(values: Any) -> Tensor | None:
    """An optional field from an array-like, also one that is read backwards."""
    if values is None or isinstance(values, Tensor):
        return values
    return torch.as_tensor(np.ascontiguousarray(values))


class Equal:
    """Equality of containers whose fields are tensors (NaN equals NaN)."""

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return all(same_value(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))  # type: ignore[arg-type]

    __hash__ = None  # type: ignore[assignment]


def same_value(a: Any, b: Any) -> bool:
    """Equality of fields: tensors and arrays by kind, shape and numbers (NaN equals NaN), else ``==``."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return (
            a.dtype == b.dtype
            and a.shape == b.shape
            and torch.equal(torch.nan_to_num(a), torch.nan_to_num(b))
            and torch.equal(a != a, b != b)
        )
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    return bool(a == b)
