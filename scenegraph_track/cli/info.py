"""``scenegraph-track info``: what is installed and what this machine offers."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from scenegraph_track.cli.console import out, say

_LIBRARIES = ("torch", "torch-geometric", "numpy", "scipy", "av", "opencv-python", "networkx", "trackeval")


def info(
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
    card: Annotated[bool, typer.Option("--card", help="Print the model card of the weights as Markdown.")] = False,
) -> None:
    """Show versions, devices, configurations and weights."""
    if card:
        from scenegraph_track.model_card import model_card, shipped_files

        say(model_card(shipped_files()).rstrip())
        return
    facts = collect()
    if as_json:
        import json

        say(json.dumps(facts, indent=2))
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for group, values in facts.items():
        rows = values.items() if isinstance(values, dict) else [("", values)]
        for i, (name, value) in enumerate(rows):
            table.add_row(f"[bold]{group if i == 0 else ''}[/bold]", name, str(value))
        if not values:
            table.add_row(f"[bold]{group}[/bold]", "none", "")
    out().print(table)


def collect() -> dict[str, Any]:
    """The facts by group."""
    import platform
    from importlib import metadata

    from scenegraph_track.cli.devices import devices
    from scenegraph_track.config import named_configs
    from scenegraph_track.version import __version__

    installed = {d.name.lower(): d.version for d in metadata.distributions() if d.name}
    return {
        "versions": {
            "scenegraph-track": __version__,
            "python": platform.python_version(),
            **{name: installed.get(name, installed.get(f"{name}-headless", "missing")) for name in _LIBRARIES},
        },
        "system": platform.platform(),
        "devices": devices(),
        "configurations": {name: str(path) for name, path in named_configs().items()},
        "weights": _weights(),
    }


def _weights() -> dict[str, str]:
    """What has been trained and ships with the package."""
    from scenegraph_track.model_card import shipped_files

    return {name: f"{path} ({path.stat().st_size / 1024:.0f} KiB)" for name, path in shipped_files().items()}
