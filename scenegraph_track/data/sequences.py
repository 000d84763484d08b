"""What lies at a path that somebody names: which sequences, of which kind, with which parts."""

from __future__ import annotations

import glob
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from scenegraph_track.data import kitti, masks, mot, single
from scenegraph_track.data.measured import measured_files, read_measured
from scenegraph_track.data.seqinfo import FRAME_RATE, image_size, read_seqinfo
from scenegraph_track.errors import UserError
from scenegraph_track.files import IMAGE_SUFFIXES, absolute, list_images, natural_key

VIDEO_SUFFIXES = frozenset(
    {".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv"}
)
"""Lower-case suffixes of files that count as videos."""

Truth = mot.TruthFile | kitti.KittiLabels | single.SingleTrack | masks.MaskSequence


@dataclass(frozen=True)
class Sequence:
    """One video in whatever form it lies there.

    Args:
        name: Unique among the sequences of one call; names result files.
        kind: "mot", "kitti", "single", "masks" (DAVIS, YouTube-VOS), "rgbd", "images", "video" or "webcam".
        path: The folder or file; for a webcam its number as a path.
        frame_rate: Frames per second.
        frame_rate_known: False where the rate is only assumed (30), or the video itself knows better.
        length: Frames, or None where only the video knows.
        size: (W, H) in pixels, or None where only the video knows.
        images: The frames as files, or None.
        video: The video file, or the number of the webcam, or None.
        detections: A file of detections in MOTChallenge or KITTI format, or None.
        truth: The file of the ground truth (a folder for masks), or None.
        measured: The folder of measured depth and poses (see ``data.measured``), or None.
    """

    name: str
    kind: str
    path: Path
    frame_rate: float = FRAME_RATE
    frame_rate_known: bool = False
    length: int | None = None
    size: tuple[int, int] | None = None
    images: tuple[Path, ...] | None = None
    video: Path | int | None = None
    detections: Path | None = None
    truth: Path | None = None
    measured: Path | None = None

    def read_detections(self) -> mot.DetectionFile:
        """The detections that belong to the sequence.

        Raises:
            UserError: It has none.
            FormatError: The file does not fit its format.
        """
        if self.detections is None:
            raise UserError(f"{self.path}: there are no detections (det/det.txt)")
        is_kitti = kitti.is_label_file(self.detections)
        return kitti.read_detections(self.detections) if is_kitti else mot.read_detections(self.detections)

    def read_truth(self) -> Truth:
        """The ground truth that belongs to the sequence, in the form of its kind.

        Raises:
            UserError: It has none.
            FormatError: The file does not fit its format.
        """
        if self.truth is None:
            raise UserError(f"{self.path}: there is no ground truth")
        readers: dict[str, Callable[[Path], Truth]] = {
            "kitti": kitti.read_labels,
            "single": single.read_single,
            "masks": masks.read_masks,
        }
        return readers.get(self.kind, mot.read_truth)(self.truth)


def find_sequences(source: str | Path) -> list[Sequence]:
    """Find the sequences at a path.

    Args:
        source: A sequence folder (MOTChallenge, KITTI, DAVIS, single-object benchmarks, a recording of an RGB-D camera,
            or only images), a folder of such folders or of videos (a split), a glob, a video or image file, or the
            number of a webcam.

    Returns:
        At least one sequence, naturally sorted by name; names are unique.

    Raises:
        UserError: Nothing there is a sequence.
        FormatError: A file of a sequence does not fit its format.
    """
    text = str(source)
    path = Path(source)
    if text.isascii() and text.isdecimal() and len(text) < 4 and not path.exists():
        return [Sequence(name=f"webcam{int(text)}", kind="webcam", path=path, video=int(text))]
    if not path.exists() and glob.has_magic(text):
        return _unique(_from_glob(text))
    if not path.exists():
        raise UserError(f"{source}: no such file or folder")
    if path.is_dir():
        path = absolute(path)
        found = _from_folder(path) or _from_split(path)
    else:
        found = _from_file(path)
    if not found:
        raise UserError(
            f"{source} is neither a video or image file, nor a folder of images or videos, nor a sequence or split of "
            "MOTChallenge (det, gt, img1), KITTI tracking (image_02, label_02), DAVIS (JPEGImages, Annotations) or a "
            "single-object benchmark (groundtruth.txt)"
        )
    return _unique(found)


def with_detections(sequence: Sequence, path: str | Path) -> Sequence:
    """The sequence with other detections.

    Args:
        sequence: Any sequence.
        path: A detection file, or a folder that holds ``<name>.txt`` or ``<name>/det/det.txt``.

    Raises:
        UserError: There is no such file.
    """
    path = Path(path)
    if path.is_file():
        return replace(sequence, detections=path)
    if not path.is_dir():
        raise UserError(f"{path}: no such file or folder of detections")
    candidates = (path / f"{sequence.name}.txt", path / sequence.name / "det" / "det.txt")
    found = next((candidate for candidate in candidates if candidate.is_file()), None)
    if found is None:
        raise UserError(f"{path}: expected {sequence.name}.txt or {sequence.name}/det/det.txt in this folder")
    return replace(sequence, detections=found)


def override_detections(sequences: list[Sequence], path: str | Path) -> list[Sequence]:
    """All sequences with other detections; see ``with_detections``.

    Raises:
        UserError: A single file is given for several sequences, or the folder lacks one.
    """
    if len(sequences) > 1 and Path(path).is_file():
        raise UserError(
            f"{path}: expected a folder with <name>.txt or <name>/det/det.txt for {len(sequences)} sequences, found a "
            "file"
        )
    return [with_detections(sequence, path) for sequence in sequences]


def _from_folder(folder: Path) -> list[Sequence]:
    """The folder itself as one sequence (or the several targets or views that share it)."""
    if rgbd := _rgbd(folder):
        return [rgbd]
    if any((folder / part).exists() for part in ("det/det.txt", "gt/gt.txt", "img1", "seqinfo.ini")):
        return [_mot(folder)]
    if annotations := single.find_annotations(folder):
        return [_single(annotation) for annotation in annotations]
    for root in (folder, folder / "training", folder / "testing"):
        if (root / "image_02").is_dir() or (root / "label_02").is_dir():
            return list(_kitti(root))
    if (folder / "JPEGImages").is_dir() or (folder / "Annotations").is_dir():
        return list(_masks(folder))
    images = list_images(folder)
    return [_images(folder.name, folder, images)] if images else []


def _from_split(folder: Path) -> list[Sequence]:
    """The folders and videos in a folder, and TrackingNet's ``frames`` and UAV123's ``data_seq/UAV123``."""
    for inner in (folder / "frames", folder / "data_seq" / "UAV123"):
        if inner.is_dir():
            folder = inner
    found: list[Sequence] = []
    for path in sorted(folder.iterdir(), key=lambda p: natural_key(p.name)):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            found += _from_folder(path)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            found.append(_video(path))
    return found


def _from_file(path: Path) -> list[Sequence]:
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return [_video(path)]
    return [_images(path.stem, path, (path,))] if suffix in IMAGE_SUFFIXES else []


def _from_glob(pattern: str) -> list[Sequence]:
    paths = [Path(match) for match in sorted(glob.glob(pattern, recursive=True), key=natural_key)]  # noqa: PTH207
    images = tuple(path for path in paths if path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES)
    if images:
        folder = absolute(images[0]).parent
        return [_images(folder.name, folder, images)]
    found: list[Sequence] = []
    for path in paths:
        found += _from_folder(absolute(path)) if path.is_dir() else _from_file(path)
    if not found:
        raise UserError(f"{pattern}: no image, video or sequence folder matches")
    return found


def _mot(folder: Path) -> Sequence:
    info = read_seqinfo(folder)
    images = list_images(info.image_dir) if info.image_dir else ()
    detections, truth = folder / "det" / "det.txt", folder / "gt" / "gt.txt"
    return Sequence(
        name=folder.name,
        kind="mot",
        path=folder,
        frame_rate=info.frame_rate,
        frame_rate_known=info.frame_rate_known,
        length=info.length,
        size=info.size,
        images=images or None,
        detections=detections if detections.is_file() else None,
        truth=truth if truth.is_file() else None,
        measured=folder if measured_files(folder) else None,
    )


def _rgbd(folder: Path) -> Sequence | None:
    """A recording of an RGB-D camera: ``rgb_registered`` or ``rgb`` beside ``depth`` and poses."""
    colour = next((folder / name for name in ("rgb_registered", "rgb") if (folder / name).is_dir()), None)
    images = list_images(colour) if colour is not None and measured_files(folder) else ()
    if not images:
        return None
    trajectory, detections = read_measured(folder).trajectory, folder / "det" / "det.txt"
    times = None if trajectory is None or len(trajectory) < 2 else trajectory.timestamps
    step = 0.0 if times is None else float(np.median(np.diff(times)))
    return replace(
        _images(folder.name, folder, images),
        kind="rgbd",
        frame_rate=1 / step if step > 0 else FRAME_RATE,
        frame_rate_known=step > 0,
        detections=detections if detections.is_file() else None,
        measured=folder,
    )


def _kitti(root: Path) -> Iterator[Sequence]:
    """One sequence a folder in ``image_02`` or a file in ``label_02``; the rate of the recordings is 10 per second."""
    views, labels = root / "image_02", root / "label_02"
    names = {p.name for p in views.iterdir() if p.is_dir()} if views.is_dir() else set()
    names |= {p.stem for p in labels.glob("*.txt")} if labels.is_dir() else set()
    for name in sorted(names, key=natural_key):
        truth, detections = labels / f"{name}.txt", root / "det_02" / f"{name}.txt"
        images = _without_gaps(list_images(views / name))
        yield replace(
            _images(name, views / name if images else root, images),
            kind="kitti",
            frame_rate=10.0,
            frame_rate_known=True,
            length=len(images) or (kitti.read_labels(truth).length if truth.is_file() else None),
            detections=detections if detections.is_file() else None,
            truth=truth if truth.is_file() else None,
        )


def _without_gaps(images: tuple[Path, ...]) -> tuple[Path, ...]:
    """Images numbered from 0 in their names, with the image before in place of one that is missing (KITTI's 0001)."""
    if not images or not all(image.stem.isdecimal() for image in images):
        return images
    numbers = [int(image.stem) for image in images]
    if numbers[0] != 0 or numbers[-1] >= 2 * len(images):
        return images
    return tuple(images[bisect_right(numbers, number) - 1] for number in range(numbers[-1] + 1))


def _single(annotation: single.Annotation) -> Sequence:
    track = single.read_single(annotation.truth)
    known = track.frame_rate is not None
    return replace(
        _images(annotation.name, annotation.image_dir, track.images or ()),
        kind="single",
        frame_rate=track.frame_rate if known else FRAME_RATE,
        frame_rate_known=known,
        length=len(track),
        truth=annotation.truth,
    )


def _masks(root: Path) -> Iterator[Sequence]:
    """DAVIS or YouTube-VOS: a folder a sequence under ``JPEGImages``, or the images directly in it."""
    if images := list_images(root / "JPEGImages"):
        truth = root / "Annotations"
        yield replace(_images(root.name, root, images), kind="masks", truth=truth if list_images(truth) else None)
        return
    annotated = masks.find_masks(root)
    folders = {path.name: path for path in masks.sequence_folders(root / "JPEGImages")}
    for name in annotated | folders:
        truth = annotated.get(name)
        images = list_images(folders[name]) if name in folders else ()
        yield replace(
            _images(name, folders.get(name) or truth or root, images),
            kind="masks",
            length=len(images) or len(list_images(truth or root)),
            truth=truth,
        )


def _images(name: str, path: Path, images: tuple[Path, ...]) -> Sequence:
    return Sequence(
        name=name,
        kind="images",
        path=path,
        length=len(images) or None,
        size=image_size(images) if images else None,
        images=images or None,
    )


def _video(path: Path) -> Sequence:
    return Sequence(name=path.stem, kind="video", path=path, video=path)


def _unique(sequences: list[Sequence]) -> list[Sequence]:
    """Sort naturally by name; where a name stands twice, put the suffix or the folder above behind it, then numbers."""
    count = Counter(s.name for s in sequences)
    named = [
        s if count[s.name] == 1 else replace(s, name=f"{s.name}_{s.path.suffix.lstrip('.') or s.path.parent.name}")
        for s in sequences
    ]
    taken: set[str] = set()
    unique = []
    for s in sorted(named, key=lambda s: natural_key(s.name)):
        names = (s.name, *(f"{s.name}_{number}" for number in range(2, len(named) + 2)))
        name = next(name for name in names if name not in taken)
        taken.add(name)
        unique.append(replace(s, name=name))
    return unique
