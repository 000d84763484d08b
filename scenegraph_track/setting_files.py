"""Settings from YAML; unknown keys are refused with the nearest known one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from scenegraph_track.errors import UserError
from scenegraph_track.files import read_text

Model = TypeVar("Model", bound=BaseModel)


def read_settings(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The mapping that a YAML file holds, with ``key.of.setting=value`` put into it; not validated yet."""
    try:
        values = yaml.safe_load(read_text(path))
    except yaml.YAMLError as wrong:
        raise UserError(f"{path}: expected YAML, {' '.join(str(wrong).split())}") from None
    values = {} if values is None else values
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping of settings, found {type(values).__name__}")
    return overridden(values, overrides)


def overridden(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """The same mapping with ``key.of.setting=value`` put into it."""
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise UserError(f"--set {override}: expected key=value")
        _put(values, key.strip(), text, override)
    return values


def _put(values: dict[str, Any], key: str, text: str, override: str) -> None:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise UserError(f"--set {override}: expected a YAML value behind the equals sign") from None
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UserError(f"--set {override}: {parent} is a value, not a group of settings")
    values[last] = value


def validated(
    model: type[Model], values: dict[str, Any], source: str, prefix: str = "", overrides: Sequence[str] = ()
) -> Model:
    """Settings of one kind from plain values.

    Args:
        model: The kind.
        values: As read from YAML, and overridden.
        source: Where they come from, for messages.
        prefix: What stands before their keys there, for messages.
        overrides: With which they are overridden, for messages.

    Raises:
        UserError: An unknown key (with the nearest known one), or a bad value (with what was expected).
    """
    _refuse_unknown(values, model, source, prefix, overrides)
    try:
        return model.model_validate(values)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        key = prefix + ".".join(str(part) for part in first["loc"])
        message, origin = first["msg"].removeprefix("Value error, "), _origin(key, source, overrides)
        raise UserError(f"{origin}: {key}: {message[0].lower()}{message[1:]} (found {first['input']!r})") from None


def _origin(key: str, source: str, overrides: Sequence[str]) -> str:
    """Where a setting comes from: the last override that has set it, its group or a part of it, or the source."""
    for override in reversed(overrides):
        path = override.partition("=")[0].strip()
        if f"{key}.".startswith(f"{path}.") or path.startswith(f"{key}."):
            return f"--set {override}"
    return source


def _refuse_unknown(
    values: dict[str, Any], model: type[BaseModel], source: str, prefix: str, overrides: Sequence[str]
) -> None:
    for key, value in values.items():
        known = model.model_fields
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else f"; known: {', '.join(known)}"
            raise UserError(f"{_origin(f'{prefix}{key}', source, overrides)}: unknown setting {prefix}{key}{hint}")
        inner = known[key].annotation
        if isinstance(value, dict) and isinstance(inner, type) and issubclass(inner, BaseModel):
            _refuse_unknown(value, inner, source, f"{prefix}{key}.", overrides)
