"""Worlds as files: MOTChallenge layout with masks, depth, poses, captions and a preview video."""

from __future__ import annotations

import configparser
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from scenegraph_track.data.video_writer import write_video
from scenegraph_track.data.worlds.detect import detect
from scenegraph_track.data.worlds.render import WorldClip, WorldFrame, iter_frames
from scenegraph_track.data.worlds.sample import sample_scene
from scenegraph_track.data.worlds.scene import Scene
from scenegraph_track.data.worlds.sheet import colour_depth, colour_flow, colour_instances
from scenegraph_track.data.worlds.truth import RELATIONS
from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_folder

DEPTH_UNIT = 0.001
"""Metres per grey level of a depth image; 0 is "none", which is also written beyond 65.535 m."""
_PLANES = 16


def write_world(world: Scene | WorldClip, folder: str | Path, overwrite: bool = False) -> Path:
    """Write a world as one MOTChallenge sequence.

    ::

        img1/000001.jpg    RGB frames, JPEG quality 95
        gt/gt.txt          frame, id, left, top, width, height, 1, class 1, visible fraction: the whole (amodal) box of
                           every object of which some silhouette is in the image, hidden or not
        det/det.txt        boxes of a simple simulated detector (`detect`), so that the sequence can be tracked
        seqinfo.ini        name, frame rate, length, size
        masks/000001.png   16 bit: 0 surroundings, 1..N objects, 1000.. static occluders
        amodal/000001.png  16 bit: whole silhouettes as bits, bit k of plane p is object 16 p + k + 1; the planes stand
                           one below the other, each as high as the image
        depth/000001.png   16 bit: millimetres along the optical axis, 0 beyond 65.535 m
        poses.txt          TUM: timestamp tx ty tz qx qy qz qw, camera to world
        intrinsics.txt     3 x 3 pinhole matrix in pixels (pixel centres at + 0.5)
        captions.json      attributes of the objects; per frame their sentences and relations
        preview.mp4        image, masks, depth and flow side by side, H.264

    Args:
        world: A scene (rendered here frame by frame) or a rendered clip.
        folder: Where it shall stand; it appears when all is written.
        overwrite: Replace a folder that holds something.

    Returns:
        The folder.

    Raises:
        UserError: The folder holds something and ``overwrite`` is not set, or cannot be written.
    """
    scene = world.scene if isinstance(world, WorldClip) else world
    frames = world.frames if isinstance(world, WorldClip) else iter_frames(world)
    folder = Path(folder)
    width, height = scene.size
    truth_rows: list[str] = []
    found_rows: list[str] = []
    poses: list[str] = []
    spoken: list[dict[str, Any]] = []
    with atomic_folder(folder, overwrite) as there:
        for name in ("img1", "gt", "det", "masks", "amodal", "depth"):
            (there / name).mkdir()
        with write_video(there / "preview.mp4", (2 * width, 2 * height), scene.frame_rate) as video:
            for frame in frames:
                name = f"{frame.index + 1:06d}"
                _write_image(there / "img1" / f"{name}.jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
                _write_image(there / "masks" / f"{name}.png", frame.instance)
                _write_image(there / "amodal" / f"{name}.png", pack_masks(frame.amodal_masks))
                _write_image(there / "depth" / f"{name}.png", depth_image(frame.depth))
                truth_rows += _truth_rows(frame)
                found_rows += _found_rows(frame, scene.seed if isinstance(scene.seed, tuple) else (scene.seed,))
                poses.append(_pose_row(frame))
                spoken.append(_spoken(frame))
                video.write(preview(frame), frame.timestamp)
        (there / "gt" / "gt.txt").write_text("".join(f"{row}\n" for row in truth_rows), encoding="utf-8")
        (there / "det" / "det.txt").write_text("".join(f"{row}\n" for row in found_rows), encoding="utf-8")
        (there / "poses.txt").write_text("".join(f"{row}\n" for row in poses), encoding="utf-8")
        np.savetxt(there / "intrinsics.txt", scene.camera.intrinsics, fmt="%.9g")
        _write_captions(there / "captions.json", scene, spoken)
        _write_seqinfo(there / "seqinfo.ini", scene, folder.name)
    return folder


def synthesise(
    out: str | Path,
    preset: str = "standard",
    split: str = "train",
    seed: int = 0,
    sequences: int = 1,
    frames: int | None = None,
    size: tuple[int, int] = (480, 360),
    overwrite: bool = False,
) -> list[Path]:
    """Write worlds into ``out``, one folder each; what the command ``synth`` does.

    Sequence i is the scene (seed, i), named by `world_name`; each appears when it is complete.

    Args:
        out: Folder of the sequences.
        preset: A key of `PRESETS`.
        split: "train", "val" or "test".
        seed: Not negative.
        sequences: How many.
        frames: Frames of each, or None for the preset's own.
        size: (width, height) in pixels.
        overwrite: Replace sequences that are already there.

    Returns:
        The folders.

    Raises:
        UserError: A setting is out of range, or a sequence is there and ``overwrite`` is not set.
    """
    if sequences < 1:
        raise UserError(f"sequences: expected at least 1, found {sequences}")
    folders = [Path(out) / world_name(preset, split, seed, i) for i in range(sequences)]
    standing = [folder for folder in folders if folder.exists() and not overwrite]
    if standing:
        raise UserError(f"{standing[0]}: the sequence exists: add --overwrite, or choose another --out or --seed")
    for i, folder in enumerate(folders):
        write_world(sample_scene(preset, split, (seed, i), size, frames), folder, overwrite)
    return folders


def world_name(preset: str, split: str, seed: int, number: int) -> str:
    """The name of the folder of one of the worlds that `synthesise` writes."""
    return f"{preset}-{split}-{seed}-{number:04d}"


def depth_image(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Metres to millimetres in 16 bits, 0 where they do not fit."""
    millimetres = np.round(depth / DEPTH_UNIT)
    return np.where(millimetres <= 65535, millimetres, 0).astype(np.uint16)


def pack_masks(masks: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """(N, H, W) masks, which may overlap, as bits of a (ceil(N / 16) H, W) image."""
    count, height, width = masks.shape
    planes = max(1, -(-count // _PLANES))
    image = np.zeros((planes, height, width), np.uint16)
    for index, mask in enumerate(masks):
        image[index // _PLANES] |= mask.astype(np.uint16) << (index % _PLANES)
    return image.reshape(planes * height, width)


def unpack_masks(image: NDArray[np.uint16], count: int) -> NDArray[np.bool_]:
    """The inverse of `pack_masks` for ``count`` objects."""
    planes = image.reshape(max(1, -(-count // _PLANES)), -1, image.shape[1])
    return np.stack([(planes[i // _PLANES] >> (i % _PLANES)) & 1 for i in range(count)]).astype(bool)


def preview(frame: WorldFrame) -> NDArray[np.uint8]:
    """Image, masks, depth and flow of a frame in a (2 H, 2 W, 3) picture."""
    top = np.hstack([frame.image, colour_instances(frame)])
    depth = colour_depth(frame.depth, 1.5, 30.0)
    return np.vstack([top, np.hstack([depth, colour_flow(frame.flow_forward)])])


def _write_image(path: Path, image: NDArray) -> None:
    settings = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    written, data = cv2.imencode(path.suffix, image, settings)
    if not written:
        raise UserError(f"{path}: cannot encode the image")
    path.write_bytes(data.tobytes())


def _truth_rows(frame: WorldFrame) -> list[str]:
    """The rows of gt.txt for a frame."""
    rows = []
    for index in np.flatnonzero(frame.amodal_masks.any((1, 2))):
        x1, y1, x2, y2 = frame.amodal_boxes[index].tolist()
        box = f"{x1:.2f},{y1:.2f},{x2 - x1:.2f},{y2 - y1:.2f}"
        rows.append(f"{frame.index + 1},{frame.ids[index]},{box},1,1,{frame.visible_fraction[index]:.5f}")
    return rows


def _found_rows(frame: WorldFrame, seed: tuple[int, ...]) -> list[str]:
    """The rows of det.txt for a frame."""
    boxes, scores = detect(frame, seed)
    rows = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2], scores]).tolist()
    return [f"{frame.index + 1},-1,{x:.2f},{y:.2f},{w:.2f},{h:.2f},{s:.4f},-1,-1,-1" for x, y, w, h, s in rows]


def _pose_row(frame: WorldFrame) -> str:
    quaternion = Rotation.from_matrix(frame.world_from_camera[:3, :3]).as_quat()
    values = [*frame.world_from_camera[:3, 3], *quaternion]
    return f"{frame.timestamp:.6f} " + " ".join(f"{value:.9f}" for value in values)


def _spoken(frame: WorldFrame) -> dict[str, Any]:
    """The sentences and relations of a frame for captions.json."""
    objects = [
        {"id": int(i), "sentence": c.sentence, "identifies": c.identifies, "said": c.said}
        for i, c in zip(frame.ids, frame.captions)
        if frame.visible_fraction[i - 1] > 0
    ]
    related = [[int(i) + 1, RELATIONS[k], int(j) + 1] for i, j, k in np.argwhere(frame.relations)]
    return {"frame": frame.index + 1, "objects": objects, "relations": related}


def _write_captions(path: Path, scene: Scene, spoken: list[dict[str, Any]]) -> None:
    words = ("colour", "pattern", "shape", "size", "motion", "role")
    objects = [{"id": t.label} | {word: getattr(t.attributes, word) for word in words} for t in scene.objects]
    occluders = [{"id": t.label, "shape": t.attributes.shape, "colour": t.attributes.colour} for t in scene.occluders]
    about = {"preset": scene.preset, "split": scene.split, "seed": scene.seed, "camera": scene.camera.motion}
    content = {**about, "objects": objects, "occluders": occluders, "frames": spoken}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _write_seqinfo(path: Path, scene: Scene, name: str) -> None:
    parser = configparser.ConfigParser()
    parser.optionxform = str  # keep the capitals
    parser["Sequence"] = {
        "name": name,
        "imDir": "img1",
        "frameRate": f"{scene.frame_rate:g}",
        "seqLength": str(len(scene)),
        "imWidth": str(scene.size[0]),
        "imHeight": str(scene.size[1]),
        "imExt": ".jpg",
    }
    with path.open("w", encoding="utf-8") as file:
        parser.write(file, space_around_delimiters=False)
