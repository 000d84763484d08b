"""Single-object benchmarks: OTB, LaSOT, LaSOText, GOT-10k, TrackingNet, UAV123, NfS, TNL2K, VOT."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scenegraph_track.data.regions import read_boxes_with_flags, read_regions
from scenegraph_track.data.tables import parse_table
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.files import absolute, atomic_write, list_images, natural_key, read_text

FIRST_FRAME = {
    "otb": {"BlurCar1": 247, "BlurCar3": 3, "BlurCar4": 18, "David": 300},
    "uav123": {
        **{"bird1_2": 775, "bird1_3": 1573, "car1_2": 751, "car1_3": 1627, "car6_2": 487, "car6_3": 1807},
        **{"car6_4": 2953, "car6_5": 3925, "car8_2": 1357, "car16_2": 415, "group1_2": 1333, "group1_3": 2515},
        **{"group1_4": 3925, "group2_2": 907, "group2_3": 1771, "group3_2": 1567, "group3_3": 2827, "group3_4": 4369},
        **{"person2_2": 1189, "person4_2": 1501, "person5_2": 877, "person7_2": 1249, "person8_2": 1075},
        **{"person12_2": 601, "person14_2": 847, "person14_3": 1813, "person17_2": 1501, "person19_2": 1243},
        **{"person19_3": 2791, "truck4_2": 577, "uav1_2": 1555, "uav1_3": 2473},
    },
}
"""Number of the image that the first box belongs to, where the benchmark's own list says that it is not the first."""


@dataclass(frozen=True)
class Annotation:
    """Where the parts of one single-object sequence lie.

    Args:
        layout: "otb", "lasot", "got10k", "trackingnet", "uav123", "nfs", "tnl2k", "vot", or "boxes" for a file alone.
        name: The sequence's name; with the target's number where images have several targets.
        truth: The file with a region a line.
        image_dir: The folder of the images.
    """

    layout: str
    name: str
    truth: Path
    image_dir: Path


@dataclass(frozen=True, eq=False)
class SingleTrack:
    """One target through one sequence of T frames.

    Args:
        name: The sequence's name.
        layout: See ``Annotation``.
        boxes: (T, 4) float64 xyxy pixels, NaN where the target is absent or the frame has no annotation.
        absent: (T,) bool, True where the annotation says that the target cannot be seen.
        occluded: (T,) bool, True where the annotation says that some or all of it is covered.
        visibility: (T,) float64 visible fraction where the benchmark has one, else NaN: GOT-10k in eighths; 0 where
            LaSOT's target is covered or out of view.
        sentence: What describes the target in words, or None.
        images: The T image files, or None where they are not there.
        frame_rate: Frames per second where the folder says, else None.
        origin: Coordinate that the file gives to the image's left and top border: 1 in OTB files, which count pixels
            from 1 and are shifted by -1 in ``boxes``; 0, no shift, in all others.
    """

    name: str
    layout: str
    boxes: np.ndarray
    absent: np.ndarray
    occluded: np.ndarray
    visibility: np.ndarray
    sentence: str | None
    images: tuple[Path, ...] | None
    frame_rate: float | None
    origin: float

    def __len__(self) -> int:
        return len(self.boxes)


def find_annotations(folder: str | Path) -> list[Annotation]:
    """The annotations of a sequence folder; none where it is no single-object sequence.

    Known are the folders of the benchmarks as they are unpacked; for TrackingNet, UAV123 and NfS the folder of the
    images, whose annotation lies elsewhere.  Several targets (OTB's Jogging, UAV123's bird1) and the two frame rates of
    NfS give several annotations.
    """
    folder = absolute(folder)
    name, parent = folder.name, folder.parent
    if rects := sorted(folder.glob("groundtruth_rect*.txt"), key=lambda p: natural_key(p.name)):
        numbers = [path.stem.removeprefix("groundtruth_rect").strip("._") for path in rects]
        names = [f"{name}_{number}" if number else name for number in numbers]
        return [Annotation("otb", n, path, folder / "img") for n, path in zip(names, rects)]
    truth = folder / "groundtruth.txt"
    if truth.is_file():
        layout, image_dir = _layout(folder, truth)
        return [Annotation(layout, name, truth, image_dir)]
    if rates := [rate for rate in ("30", "240") if (folder / rate / f"{name}.txt").is_file()]:
        return [Annotation("nfs", f"{name}_{r}", folder / r / f"{name}.txt", folder / r / name) for r in rates]
    if name in ("30", "240") and (folder / f"{parent.name}.txt").is_file():
        return [Annotation("nfs", f"{parent.name}_{name}", folder / f"{parent.name}.txt", folder / parent.name)]
    if parent.name in ("30", "240") and (parent / f"{name}.txt").is_file():
        return [Annotation("nfs", f"{name}_{parent.name}", parent / f"{name}.txt", folder)]
    if parent.name == "frames" and (parent.parent / "anno" / f"{name}.txt").is_file():
        return [Annotation("trackingnet", name, parent.parent / "anno" / f"{name}.txt", folder)]
    if parent.parent.name == "data_seq":
        files = (parent.parent.parent / "anno" / parent.name).glob(f"{name}*.txt")
        files = [path for path in files if re.fullmatch(rf"{re.escape(name)}(_\d+)?", path.stem)]
        return [Annotation("uav123", p.stem, p, folder) for p in sorted(files, key=lambda p: natural_key(p.name))]
    return []


def read_single(source: str | Path) -> SingleTrack:
    """Read a single-object sequence.

    Args:
        source: A sequence folder (its first target, where it has several), or an annotation file; a file of no known
            layout is read as boxes without images.

    Raises:
        FormatError: An annotation does not fit its format or the images.
        UserError: The folder is of no known layout.
    """
    source = Path(source)
    if source.is_file():
        return _read(_annotation_of(absolute(source)))
    annotations = find_annotations(source)
    if not annotations:
        raise UserError(
            f"{source}: expected a sequence of OTB, LaSOT, GOT-10k, TrackingNet, UAV123, NfS, TNL2K or VOT "
            "(a folder with groundtruth.txt or groundtruth_rect.txt, or one that an annotation belongs to)"
        )
    return _read(annotations[0])


def write_boxes(path: str | Path, boxes: np.ndarray, delimiter: str = ",", origin: float = 0.0) -> None:
    """Write ``left,top,width,height`` a line, to 0.001 pixels; NaN four times where a box is not finite.

    Args:
        path: Where to write.
        boxes: (T, 4) xyxy pixels.
        delimiter: What stands between the numbers.
        origin: Added to left and top: ``SingleTrack.origin`` gives the file's own coordinates back.
    """
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    table = np.concatenate([boxes[:, :2] + origin, boxes[:, 2:] - boxes[:, :2]], axis=1)
    number, nothing = delimiter.join(["%.3f"] * 4), delimiter.join(["NaN"] * 4)
    with atomic_write(path) as file:
        file.writelines((number % tuple(row) if np.isfinite(row).all() else nothing) + "\n" for row in table)


def _layout(folder: Path, truth: Path) -> tuple[str, Path]:
    if (folder / "color").is_dir():
        return "vot", folder / "color"
    if (folder / "imgs").is_dir() or (folder / "language.txt").is_file():
        return "tnl2k", folder / "imgs"
    if (folder / "img").is_dir() or (folder / "full_occlusion.txt").is_file() or (folder / "nlp.txt").is_file():
        return "lasot", folder / "img"
    if (folder / "sequence").is_file() or len(re.findall(r"[^,;\s]+", read_text(truth).split("\n")[0])) > 4:
        return "vot", folder
    return "got10k", folder


def _annotation_of(truth: Path) -> Annotation:
    parent, stem = truth.parent, truth.stem
    near = [parent, parent / stem, parent.parent / "frames" / stem]
    near.append(parent.parent.parent / "data_seq" / parent.name / re.sub(r"_\d+$", "", stem))
    near.append(near[-1].with_name(stem))
    found = (a for folder in near if folder.is_dir() for a in find_annotations(folder) if a.truth == truth)
    return next(found, Annotation("boxes", stem, truth, parent / stem))


def _read(a: Annotation) -> SingleTrack:
    if a.layout == "nfs" and '"' in read_text(a.truth):
        boxes, absent, occluded = read_boxes_with_flags(a.truth)
    else:
        boxes, absent = read_regions(a.truth)
        occluded = np.zeros(len(boxes), dtype=bool)
    origin = 1.0 if a.layout == "otb" else 0.0
    visibility = np.full(len(boxes), np.nan)
    folder = a.truth.parent
    if a.layout == "lasot":
        hidden, outside = (_flags(folder / f, len(boxes)) > 0 for f in ("full_occlusion.txt", "out_of_view.txt"))
        absent, occluded = absent | hidden | outside, hidden
        visibility[absent] = 0.0
    elif a.layout == "got10k":
        cover = _flags(folder / "cover.label", len(boxes), missing=np.nan)
        if ((cover < 0) | (cover > 8)).any():
            raise FormatError(folder / "cover.label", None, "visible eighths from 0 to 8")
        visibility, occluded = cover / 8, cover < 8
        absent = absent | (_flags(folder / "absence.label", len(boxes)) > 0)
    elif a.layout == "vot":
        tags = [path for path in (folder / "occlusion.tag", folder / "occlusion.label") if path.is_file()]
        occluded = _flags(tags[0], len(boxes), short=True) > 0 if tags else occluded
    boxes = np.where(absent[:, None], np.nan, boxes - origin)
    columns, images = _align(a, (boxes, absent, occluded, visibility))
    return SingleTrack(
        a.name, a.layout, *columns, sentence=_sentence(folder), images=images, frame_rate=_rate(a), origin=origin
    )


def _align(a: Annotation, columns: tuple[np.ndarray, ...]) -> tuple[list[np.ndarray], tuple[Path, ...] | None]:
    """Make rows and images equally many, by the benchmark's rules; images without a row get NaN and False."""
    images, count = list_images(a.image_dir), len(columns[0])
    if not images:
        return list(columns), None
    if a.layout == "nfs" and count > len(images):
        step = 8 if abs(count / len(images) - 8) < 1 else 1
        columns = tuple(column[::step][: len(images)] for column in columns)
        count = len(columns[0]) if step == 8 or count - len(images) <= 1 else count
    if a.layout in FIRST_FRAME:
        first = FIRST_FRAME[a.layout].get(a.name, 0)
        images = tuple(image for image in images if _number(image) >= first)[:count]
    if count > len(images):
        raise FormatError(a.truth, None, f"at most {len(images)} rows, one an image", str(count))
    missing = len(images) - count
    fills = (np.nan, False, False, np.nan)
    padded = [
        np.concatenate([column, np.full((missing, *column.shape[1:]), fill, dtype=column.dtype)])
        for column, fill in zip(columns, fills)
    ]
    return padded, images


def _flags(path: Path, count: int, missing: float = 0.0, short: bool = False) -> np.ndarray:
    """Read ``count`` numbers, however many a line; ``missing`` where there is no file (or, if ``short``, no more)."""
    if not path.is_file():
        return np.full(count, missing)
    flags = parse_table(path, read_text(path), 1).ravel()
    if len(flags) != count and not (short and len(flags) < count):
        raise FormatError(path, None, f"{count} flags, one a row of the ground truth", str(len(flags)))
    return np.concatenate([flags, np.full(count - len(flags), missing)])


def _sentence(folder: Path) -> str | None:
    path = next((folder / name for name in ("nlp.txt", "language.txt") if (folder / name).is_file()), None)
    return None if path is None else " ".join(read_text(path).split()) or None


def _rate(a: Annotation) -> float | None:
    if a.layout == "nfs":
        return float(a.truth.parent.name)
    file = a.truth.parent / {"got10k": "meta_info.ini", "vot": "sequence"}.get(a.layout, "")
    text = read_text(file) if file.is_file() else ""
    found = re.search(r"^\s*(?:anno_)?fps\s*[:=]\s*(\d+\.?\d*)", text, re.MULTILINE)
    return float(found[1]) if found and float(found[1]) > 0 else None


def _number(image: Path) -> int:
    digits = re.findall(r"\d+", image.stem)
    return int(digits[-1]) if digits else 0
