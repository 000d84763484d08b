"""Instances through videos in a COCO-style JSON file: YouTube-VIS, OVIS and the like."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from scenegraph_track.errors import FormatError
from scenegraph_track.files import read_text
from scenegraph_track.structures import Tracks


@dataclass(frozen=True, eq=False)
class VideoInstances:
    """The annotated instances of one video; masks are decoded when they are asked for.

    Args:
        path: The JSON file, named in errors.
        name: The video's name (the folder of its images).
        size: (W, H) in pixels.
        file_names: (T,) images relative to ``JPEGImages``.
        ids: (N,) int64 instance numbers as in the file.
        classes: (N,) int64 category numbers as in the file.
        segmentations: N lists of T: run lengths, polygons, or None where the instance is not seen.
    """

    path: Path
    name: str
    size: tuple[int, int]
    file_names: tuple[str, ...]
    ids: np.ndarray
    classes: np.ndarray
    segmentations: tuple[tuple[Any, ...], ...]

    def __len__(self) -> int:
        return len(self.file_names)

    def masks(self, frame: int) -> np.ndarray:
        """The (N, H, W) bool masks of one frame, one an instance; they may overlap.

        Raises:
            FormatError: A segmentation is neither run lengths nor polygons, or of another size.
        """
        width, height = self.size
        masks = np.zeros((len(self.ids), height, width), dtype=bool)
        for row, segmentation in enumerate(self.segmentations):
            if segmentation[frame] is not None:
                masks[row] = self._decode(row, segmentation[frame])
        return masks

    def frames(self) -> Iterator[np.ndarray]:
        """(H, W) uint8 masks with 1 for the first instance, 2 for the second, ...; later ones lie on top.

        Raises:
            FormatError: There are more than 255 instances, or see ``masks``.
        """
        if len(self.ids) > 255:
            raise FormatError(self.path, None, f"at most 255 instances in video {self.name}", str(len(self.ids)))
        numbers = np.arange(1, len(self.ids) + 1, dtype=np.uint8)[:, None, None]
        for frame in range(len(self)):
            yield (self.masks(frame) * numbers).max(0, initial=0)

    def tracks(self) -> Tracks:
        """The boxes round all masks; ids and classes are the file's.

        Raises:
            FormatError: See ``masks``.
        """
        rows = []
        for row, segmentation in enumerate(self.segmentations):
            for frame, region in enumerate(segmentation):
                if region is not None and (mask := self._decode(row, region)).any():
                    y, x = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
                    rows.append((frame, row, x[0], y[0], x[-1] + 1, y[-1] + 1))
        table = np.array(rows, dtype=np.int64).reshape(-1, 6)
        return Tracks.from_arrays(
            table[:, 0], self.ids[table[:, 1]], table[:, 2:], classes=self.classes[table[:, 1]].copy()
        )

    def _decode(self, row: int, region: Any) -> np.ndarray:
        width, height = self.size
        try:
            if isinstance(region, list):
                return _fill_polygons(region, width, height)
            if list(region["size"]) != [height, width]:
                raise ValueError
            counts = region["counts"]
            return _decode_runs(counts if isinstance(counts, list) else _unpack_runs(counts), width, height)
        except (ValueError, TypeError, KeyError, AttributeError):
            expected = f"run lengths or polygons of {width} x {height} pixels for annotation {self.ids[row]}"
            raise FormatError(self.path, None, expected) from None


def _fill_polygons(region: list[Any], width: int, height: int) -> np.ndarray:
    polygons = [np.asarray(polygon, dtype=np.float64).ravel() for polygon in region]
    if not polygons or any(len(p) < 6 or len(p) % 2 or not (np.abs(p) < 2**16).all() for p in polygons):
        raise ValueError
    runs = coco.merge(coco.frPyObjects([polygon.tolist() for polygon in polygons], height, width))
    return _decode_runs(_unpack_runs(runs["counts"].decode("ascii")), width, height)


def _decode_runs(counts: list[int], width: int, height: int) -> np.ndarray:
    """Zeros, ones, zeros, ... down the columns.  Runs must fill the mask: COCO's own decoder leaves memory unset."""
    if any(type(n) is not int or n < 0 for n in counts) or sum(counts) != width * height:
        raise ValueError
    flat = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return flat.reshape(width, height).T


def _unpack_runs(packed: str) -> list[int]:
    """COCO's compressed runs: five bits a character from the low end, bit 5 says that more follow, the top bit of the
    last five is the sign; from the fourth run on the difference to the run before the last.
    """
    counts: list[int] = []
    value = shift = 0
    for code in packed.encode("ascii"):
        bits = code - 48
        if not 0 <= bits < 64 or shift > 35:
            raise ValueError
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits >> 4 & 1) << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError
    return counts


def read_video_instances(path: str | Path) -> dict[str, VideoInstances]:
    """Read a file with ``videos`` and ``annotations`` (``segmentations`` a frame, run lengths or polygons).

    Returns:
        The videos by name, in the file's order; a video without annotations has none.

    Raises:
        FormatError: The file is no such JSON.
        UserError: The file cannot be read.
    """
    path = Path(path)
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise FormatError(path, error.lineno, f"JSON ({error.msg})") from None
    except (RecursionError, ValueError):
        raise FormatError(path, None, "JSON nested less deeply and with shorter numbers") from None
    if not isinstance(content, dict) or not all(
        isinstance(content.get(k, []), list) for k in ("videos", "annotations")
    ):
        raise FormatError(path, None, "an object with lists 'videos' and 'annotations'")
    if "videos" not in content:
        raise FormatError(path, None, "a list 'videos'")
    videos = {}
    grouped: dict[Any, list[Any]] = {}
    for index, annotation in enumerate(content.get("annotations", [])):
        _check(path, f"annotations[{index}]", annotation, {"id": int, "video_id": int, "segmentations": list})
        grouped.setdefault(annotation["video_id"], []).append(annotation)
    for index, video in enumerate(content["videos"]):
        where = f"videos[{index}]"
        _check(path, where, video, {"id": int, "width": int, "height": int, "file_names": list})
        instances = _instances(path, where, video, grouped.get(video["id"], []))
        if instances.name in videos:
            raise FormatError(path, None, f"a name of its own for {where}", repr(instances.name))
        videos[instances.name] = instances
    return videos


def _instances(path: Path, where: str, video: dict[str, Any], annotations: list[Any]) -> VideoInstances:
    names = video["file_names"]
    if not names or not all(isinstance(name, str) for name in names):
        raise FormatError(path, None, f"names of images in {where}.file_names")
    if not (0 < video["width"] <= 2**16 and 0 < video["height"] <= 2**16):
        raise FormatError(path, None, f"width and height from 1 to 65536 in {where}")
    for annotation in annotations:
        if len(annotation["segmentations"]) != len(names):
            expected = f"{len(names)} segmentations, one a frame, in annotation {annotation['id']}"
            raise FormatError(path, None, expected, str(len(annotation["segmentations"])))
    folder = Path(names[0]).parent.name
    return VideoInstances(
        path=path,
        name=str(video.get("name") or folder or Path(names[0]).stem),
        size=(video["width"], video["height"]),
        file_names=tuple(names),
        ids=np.array([a["id"] for a in annotations], dtype=np.int64),
        classes=np.array([_category(path, a) for a in annotations], dtype=np.int64),
        segmentations=tuple(tuple(a["segmentations"]) for a in annotations),
    )


def _category(path: Path, annotation: dict[str, Any]) -> int:
    category = annotation.get("category_id", 1)
    if type(category) is not int or abs(category) >= 2**31:
        raise FormatError(path, None, f"a whole number as category_id of annotation {annotation['id']}")
    return category


def _check(path: Path, where: str, value: Any, kinds: dict[str, type]) -> None:
    if not isinstance(value, dict):
        raise FormatError(path, None, f"an object as {where}")
    for key, kind in kinds.items():
        if not isinstance(value.get(key), kind) or (kind is int and abs(value[key]) >= 2**62):
            raise FormatError(path, None, f"{'a whole number' if kind is int else 'a list'} as {where}.{key}")
