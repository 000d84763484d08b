"""The model card of weights, as Markdown, made of nothing but what their files say of themselves."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from pathlib import Path, PurePath
from typing import Any

import yaml

from geometry.weights import read_metadata
from scenegraph_track.version import __version__

LARGEST_RELEASE = 25_000_000
"""Bytes that the weights which ship may have in all."""

FORMATS = ("scenegraph-track weights 1", "scenegraph-track rules 1")
"""What files of weights that this package made call themselves."""

_UNKNOWN = "not recorded"
"""What a file does not say of itself."""

_DATA = ("preset", "presets", "scenes", "clips", "sequences", "frames", "frame_rates", "size", "split")
_HEAD = """---
license: apache-2.0
library_name: scenegraph-track
tags:
- multi-object-tracking
- scene-graph
- object-discovery
- occlusion
---

# scenegraph-track: model card

Weights of scenegraph-track {version}, which discovers the objects of a video, keeps a scene graph of them through time,
and keeps each identity while its object is hidden.

```python
from scenegraph_track import Tracker

tracker = Tracker.from_pretrained("embedded")  # or the folder of this file, or its id on the hub
```
"""
_STEPS = f"""
Step: the one whose weights these are, of those that the recipe planned; the best on validation, or the newest where the
recipe names no figure to compare (`train.monitor`). "{_UNKNOWN}": the file does not say.
"""
_ABOUT = """
## What they were trained on

The weights that ship with the package: on worlds and streams of detections that it generates itself
(`scenegraph-track synth`), whose version is that of the package; on no picture, video or label of anybody else. Weights
that somebody trained say in their recipe, below, on what. `scenegraph-track train STAGE` makes a file again; "{commit}"
behind a commit means that the working tree had changes.

## Limits

- The worlds have textured bodies of simple shapes, a few to a few dozen of them; real people, animals and vehicles look
  and move otherwise. The figures below are those of held-out worlds in training, and say nothing of real videos.
- Small networks for two cores of a CPU: far behind large pretrained ones wherever what things are matters.
- Scores are not calibrated for decisions about people. Do not identify or watch anybody with this.
- Objects that never move and look like what is behind them are not discovered.

## Licence

Apache-2.0, the weights like the code.
"""


def shipped_files() -> dict[str, Path]:
    """All files of weights that ship with the package, by name."""
    folders = (("geometry", "trained"), ("detectors", "trained"), ("scenegraph_track", "weights"))
    found = [Path(str(resources.files(package))) / folder for package, folder in folders]
    return {path.stem: path for folder in found for path in sorted(folder.glob("*.safetensors"))}


def model_card(files: Mapping[str, Path], settings: str = "") -> str:
    """The model card of some files of weights.

    Args:
        files: By the name under which they are shown; folders are named as somebody else's.
        settings: YAML in which they are used, shown at the end.

    Raises:
        GeometryError: A file is missing or is no safetensors file.
    """
    stories = {name: _story(path) for name, path in files.items()}
    own = {name: story for name, story in stories.items() if story.get("format") in FORMATS}
    size = sum(files[name].stat().st_size for name in files if files[name].is_file())
    parts = [_HEAD.format(version=__version__), f"\n## Files ({size / 1e6:.1f} MB in all)\n\n{_table(files, own)}"]
    parts += [_STEPS, _histories(own)] if own else []
    others = [name for name in files if name not in own]
    if others:
        names = ", ".join(f"`{name}`" for name in others)
        parts.append(f"\nNot made by this package, under licences of their own: {names}.\n")
    parts += [_ABOUT.replace("{commit}", "-dirty"), "\n## Figures on held-out data\n\n", _figures(own)]
    parts.append("\n## Recipes\n")
    parts += [_details(name, _yaml(_portable(story.get("recipe", {})))) for name, story in own.items()]
    if settings:
        parts.append(_details("settings of the tracker", settings))
    return "".join(parts)


def _story(path: Path) -> dict[str, Any]:
    return {} if path.is_dir() else read_metadata(path)


def _table(files: Mapping[str, Path], stories: Mapping[str, Mapping[str, Any]]) -> str:
    lines = ["| file | MB | stage | data | seed | step | version | commit |", "|---|---|---|---|---|---|---|---|"]
    for name, story in stories.items():
        recipe = story.get("recipe", {})
        commit = str(story.get("commit", ""))
        short = commit[:9] + ("-dirty" if commit.endswith("-dirty") else "")
        cells = (
            name,
            f"{files[name].stat().st_size / 1e6:.2f}",
            story.get("stage", "rules"),
            _data(recipe),
            story.get("seed", recipe.get("seed", _UNKNOWN)),
            _step(story),
            story.get("version", _UNKNOWN),
            short or _UNKNOWN,
        )
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def _step(story: Mapping[str, Any]) -> str:
    """The step of the weights, and how many the recipe planned."""
    if "step" not in story:
        return _UNKNOWN
    planned = _train(story).get("steps")
    return str(story["step"]) if planned is None else f"{story['step']} of {planned}"


def _histories(stories: Mapping[str, Mapping[str, Any]]) -> str:
    """What came before the run of the recipe, where a file says so."""
    lines = []
    for name, story in stories.items():
        before = ["began with the weights of an earlier run (`train.start`)"] if _train(story).get("start") else []
        before += [story["history"]] if "history" in story else []
        lines += [f"- **{name}**: {'; '.join(before)}\n"] if before else []
    return "\nNot by the run of the recipe alone:\n\n" + "".join(lines) if lines else ""


def _train(story: Mapping[str, Any]) -> Mapping[str, Any]:
    return story.get("recipe", {}).get("train", {})


def _data(recipe: Mapping[str, Any]) -> str:
    """What a recipe says of its data, in a few words."""
    told = []
    for name, section in {"": recipe, **recipe}.items():
        if not isinstance(section, Mapping):
            continue
        facts = {key: section[key] for key in _DATA if key in section and not isinstance(section[key], Mapping)}
        kinds = section.get("presets")
        if isinstance(kinds, Mapping):
            facts = {"presets": " ".join(kinds), **facts}
        if facts:
            text = ", ".join(f"{key} {_listed(value)}" for key, value in facts.items())
            told.append(f"{name}: {text}" if name else text)
    return "; ".join(told) or _UNKNOWN


def _listed(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _figures(stories: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for name, story in stories.items():
        figures = _flat(story.get("held_out", {}))
        lines.append(f"- **{name}**: " + (", ".join(f"{key} {_short(value)}" for key, value in figures) or "none"))
    return "\n".join(lines) + "\n"


def _flat(figures: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    found = []
    for key, value in figures.items():
        found += _flat(value, f"{before}{key}/") if isinstance(value, Mapping) else [(before + key, value)]
    return found


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _portable(recipe: Any) -> Any:
    """The same without the folders of the machine that it ran on."""
    if isinstance(recipe, Mapping):
        return {key: _portable(value) for key, value in recipe.items()}
    if isinstance(recipe, list):
        return [_portable(value) for value in recipe]
    if isinstance(recipe, str) and PurePath(recipe).is_absolute():
        return PurePath(recipe).name
    return recipe


def _yaml(values: Any) -> str:
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None)


def _details(name: str, text: str) -> str:
    return f"\n<details><summary>{name}</summary>\n\n```yaml\n{text.rstrip()}\n```\n\n</details>\n"
