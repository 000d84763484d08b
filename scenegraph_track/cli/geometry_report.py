"""Figures for people: tables on the screen, and what pictures of geometry show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from scenegraph_track.cli.console import out
from scenegraph_track.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from scenegraph_track.evaluation.trajectories import Followed

TITLES = {"image": "image", "truth": "truth"}
DEPTH_TITLES = {**TITLES, "video": "video depth", "network": "single image", "mean_map": "mean map"}
FLOW_TITLES = {
    **TITLES,
    "learned": "learned",
    "dis_fine": "DIS fine",
    "dis_sparse": "DIS sparse",
    "dis_fast": "DIS fast",
}


def show(title: str, rows: Mapping[str, Mapping[str, float]], digits: int = 3) -> None:
    """Print a table, a row a method, never cut; where a method has no figure, nothing stands."""
    from rich import box
    from rich.measure import Measurement
    from rich.table import Table

    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("method", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", "\n"), justify="right", vertical="bottom", no_wrap=True)
    for name, row in rows.items():
        table.add_row(name, *(_number(row.get(column), digits) for column in columns))
    console = out()
    needed = Measurement.get(console, console.options.update(max_width=10_000), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


def _number(value: float | None, digits: int) -> str:
    return "" if value is None or value != value else f"{value:.{digits}f}"


def show_depth(figures: Mapping[str, Any]) -> None:
    """Print the tables of depth."""
    for title, group in (("depth", "methods"), ("depth where the camera translates", "moving")):
        rows = {name: {k: v for k, v in row.items() if k != "scale"} for name, row in figures[group].items()}
        if rows and (group == "methods" or figures[group] != figures["methods"]):
            show(title, rows)


def show_motion(figures: Mapping[str, Any]) -> None:
    """Print the tables of camera motion and of trajectories."""
    own = {name: value for name, value in figures.items() if not isinstance(value, Mapping)}
    methods = {name: row for name, row in figures.items() if isinstance(row, Mapping) and "residual_px" in row}
    show("camera motion", {"estimate": own, **methods})
    found = dict(figures["trajectory"])
    if found:
        still, clips = found.pop("still"), found.pop("clips")
        show(f"trajectories of {clips} clip{'s' * (clips != 1)}, Sim(3)", {"estimate": found, "still": still})


def depth_sheet(shown: Sequence[Mapping[str, NDArray]]) -> NDArray:
    """Depth maps, a row a sequence."""
    from scenegraph_track.visualize.geometry import depth_row, sheet

    return sheet(
        [depth_row({name: maps[name] for name in DEPTH_TITLES if name in maps}) for maps in shown], DEPTH_TITLES
    )


def flow_sheet(shown: Sequence[Mapping[str, NDArray]]) -> NDArray:
    """Flows, a row a sequence."""
    from scenegraph_track.visualize.geometry import flow_row, sheet

    return sheet([flow_row(maps) for maps in shown], FLOW_TITLES)


def trajectory_sheet(followed: Sequence[Followed]) -> NDArray:
    """Trajectories from above, a panel a clip.

    Raises:
        UserError: There are none.
    """
    from scenegraph_track.visualize.geometry import tiles, trajectory_panel

    if not followed:
        raise UserError("--picture: the camera was followed through no clip, so there is no trajectory to draw")
    titles = [f"{one.name}  ATE {one.figures.ate_rmse:.3g} m" for one in followed]
    return tiles([trajectory_panel(one.truth, one.estimate, title) for one, title in zip(followed, titles)])
