"""Pretrained models of `transformers`, from the hub or a local folder; what is wrong with one is said in a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from geometry.errors import GeometryError

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


class HubModel:
    """Where a model is loaded from, and the loading of its parts; code that comes with a model is never run.

    Args:
        source: Hub id, or a folder that ``save_pretrained`` wrote.
        example: A hub id that would do, for the errors.
        error: Kind of all errors.
        revision: Branch, tag or commit on the hub.
        local_files_only: Never ask the hub; use the folder or what was downloaded before.

    Raises:
        GeometryError: There is no such folder, and it is no hub id either.
    """

    def __init__(
        self,
        source: str,
        example: str,
        error: type[GeometryError] = GeometryError,
        revision: str | None = None,
        local_files_only: bool = False,
    ) -> None:
        self._source, self._error = source, error
        self._options = {"revision": revision, "local_files_only": local_files_only, "trust_remote_code": False}
        path = Path(source).expanduser()
        self._place = str(path) if path.is_dir() else source
        if path.is_dir() and not (path / "config.json").is_file():
            files = "config.json, preprocessor_config.json and model.safetensors"
            raise error(f"{source}: expected a folder with {files}, found no config.json")
        if not path.is_dir() and (path.exists() or not _HUB_ID.fullmatch(source)):
            raise error(f"{source}: expected a folder, or a hub id such as {example}")

    def config(self) -> Any:
        """The configuration.

        Raises:
            GeometryError: It cannot be had or read.
        """
        from transformers import AutoConfig

        try:
            return self.load(AutoConfig)
        except Exception as error:
            raise self._error(f"{self._source}: {self._config_problem(error)}") from error

    def load(self, kind: Any, **options: Any) -> Any:
        """What a class of the library such as ``AutoImageProcessor`` makes of the files; its errors come as they are.

        Args:
            kind: A class with ``from_pretrained``.
            options: Further arguments of that.
        """
        return kind.from_pretrained(self._place, **self._options, **options)

    def weights(self, kind: Any, config: Any, unused: re.Pattern[str]) -> Any:
        """The network with its weights, from safetensors only, in float32.

        Args:
            kind: A class such as ``AutoModelForDepthEstimation``.
            config: See `config`.
            unused: Names, from their beginning, of tensors that may be missing because nothing uses them.

        Raises:
            GeometryError: The weights cannot be had, do not fit or are not complete.
        """
        options = {"use_safetensors": True, "dtype": torch.float32, "output_loading_info": True}
        with self.explained("expected weights that fit config.json as safetensors (model.safetensors)"):
            model, report = self.load(kind, config=config, **options)
        missing = sorted(key for key in report["missing_keys"] if not unused.match(key))
        if missing:
            found = f"the weights lack {len(missing)} tensors of the model, such as {missing[0]}"
            raise self._error(f"{self._source}: {found}")
        return model

    @contextmanager
    def explained(self, problem: str) -> Iterator[None]:
        """Errors of the library inside become one sentence; those of this package stay as they are.

        Args:
            problem: What an error inside means, such as "no usable processor".
        """
        try:
            yield
        except GeometryError:
            raise
        except Exception as error:
            raise self._error(f"{self._source}: {problem}: {_brief(error)}") from error

    def _config_problem(self, error: Exception) -> str:
        if Path(self._place).is_dir():
            return f"config.json cannot be read as a model of transformers: {_brief(error)}"
        if isinstance(error, OSError):
            advice = "check the id and the connection, or download it first and give its local folder"
            return f"no such folder, and not to be had from the hub: {advice}"
        return f"not a model that transformers knows: {_brief(error)}"


def _brief(error: Exception) -> str:
    """The first line of a message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
