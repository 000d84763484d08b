"""``scenegraph-track demo``: the whole way on a small generated scene, from frames to tracks, graphs and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scenegraph_track.cli.console import err, out, say, usage
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_write

if TYPE_CHECKING:
    from scenegraph_track.data.sequences import Sequence
    from scenegraph_track.evaluation.mot import Evaluation

NAME = "scene"
"""Name of the sequence of the demo."""

SIZE, FRAMES, FRAME_RATE = (640, 360), 150, 15.0
"""Pixels, number and rate of its frames."""


def demo(
    to: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder to leave everything in.")] = Path("demo"),
    seed: Annotated[int, typer.Option(min=0, help="Which scene to generate.")] = 13,
) -> None:
    """Generate a short scene, track it, and show what comes out: video, scene graph and figures.

    Objects pass behind walls and each other; a simulated detector misses what is mostly hidden. Takes under a minute.
    """
    from scenegraph_track.cli.eval import evaluate_files
    from scenegraph_track.cli.spread import use_one_thread
    from scenegraph_track.config import load_config
    from scenegraph_track.data.sequences import find_sequences
    from scenegraph_track.data.worlds import sample_scene
    from scenegraph_track.data.worlds.export import write_world
    from scenegraph_track.evaluation.report import print_table, write_json
    from scenegraph_track.tracking.outputs import GRAPH, RESULT, Outputs
    from scenegraph_track.tracking.run import RunOptions, run_sequence

    outputs = Outputs(to, NAME)
    with usage():
        _refuse_strangers(outputs.folder)
    with err().status("generating a scene"):
        write_world(sample_scene("standard", "val", seed, SIZE, FRAMES, FRAME_RATE), to / NAME, overwrite=True)
    sequences = find_sequences(to / NAME)
    use_one_thread()
    with err().status("tracking"):
        run_sequence(sequences[0], load_config("boxes"), to, RunOptions(save_video=True, save_graph=True))
    frame = write_graphml_of(outputs.path(GRAPH), to / "frame.graphml")
    pictured = write_occlusion(outputs.path(GRAPH), sequences[0], to / "occlusion.png")
    evaluation = evaluate_files(sequences, {NAME: outputs.path(RESULT)})
    write_json(evaluation, to / "figures.json")
    print_table(evaluation, out())
    say(_explanation(to, frame, pictured, evaluation))


def write_graphml_of(graphs: Path, path: Path) -> int:
    """Write as GraphML the first frame in which an object is hidden, else the last one; returns its index."""
    from scenegraph_track.graph.export import read_jsonl, write_graphml
    from scenegraph_track.structures import ObjectState

    for scene in read_jsonl(graphs):
        if bool((scene.states == ObjectState.HIDDEN).any()):
            break
    write_graphml(scene, path)
    return scene.frame_index


def write_occlusion(graphs: Path, sequence: Sequence, path: Path) -> bool:
    """Draw one occlusion, before, during and after; whether there was one in which an object came back."""
    import cv2

    from scenegraph_track.graph.export import read_jsonl
    from scenegraph_track.visualize.occlusion_panel import find_occlusion, occlusion_picture

    scenes = list(read_jsonl(graphs))
    found = find_occlusion(scenes)
    path.unlink(missing_ok=True)
    if found is None or sequence.images is None:
        return False
    wanted = [scenes[number].frame_index for number in (found.before, found.during, found.after)]
    images = [cv2.cvtColor(cv2.imread(str(sequence.images[index])), cv2.COLOR_BGR2RGB) for index in wanted]
    picture = cv2.cvtColor(occlusion_picture(scenes, images, found), cv2.COLOR_RGB2BGR)
    with atomic_write(path, "wb") as file:
        file.write(cv2.imencode(".png", picture)[1].tobytes())
    return True


def _refuse_strangers(folder: Path) -> None:
    """Only an earlier demo may be replaced."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: expected a folder, found a file")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NAME / "seqinfo.ini").is_file():
        raise UserError(f"{folder}: the folder holds other things than a demo; choose another --out")


def _explanation(to: Path, frame: int, pictured: bool, evaluation: Evaluation) -> str:
    lines = {
        f"{NAME}/": "the input: frames (img1), detections (det), exact truth (gt, masks, depth, poses, ...)",
        f"{NAME}.mp4": "the frames with tracks drawn on them; dashed boxes are hidden objects",
        f"{NAME}.txt": "the tracks, as MOTChallenge results",
        f"{NAME}.graph.jsonl": "the scene graph, a frame a line",
        "frame.graphml": f"the graph of frame {frame}, for NetworkX, Gephi or yEd",
        "occlusion.png": "one occlusion: frames and graphs before, during and after, with what each identity rests on",
        "figures.json": "the figures above",
    }
    if not pictured:
        del lines["occlusion.png"]
    width = max(len(str(to / name)) for name in lines)
    listing = "\n".join(f"  {to / name!s:{width}}  {text}" for name, text in lines.items())
    figures = evaluation.combined
    return (
        f"{figures['GT_IDs']} objects, {figures['IDSW']} identity switches. What lies where:\n{listing}\n"
        "Next, track your own video with the detections of your detector (MOTChallenge format):\n"
        "  scenegraph-track track VIDEO --detections DET.txt --save-video --save-graph"
    )
