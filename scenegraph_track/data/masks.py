"""Videos with a mask for every object and frame: DAVIS, YouTube-VOS and the like as PNG files of ids.

In an id mask each pixel holds the number of the object that is seen there, 0 for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import find_objects

from scenegraph_track.data.seqinfo import image_size
from scenegraph_track.errors import FormatError, UserError
from scenegraph_track.files import absolute, atomic_folder, list_images
from scenegraph_track.structures import Tracks


@dataclass(frozen=True)
class MaskSequence:
    """The id masks of one sequence, read when they are asked for.

    Args:
        name: The sequence's name.
        files: One PNG a frame, in order.
        size: (W, H) in pixels.
    """

    name: str
    files: tuple[Path, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> np.ndarray:
        """The (H, W) uint8 id mask of one frame.

        Raises:
            FormatError: The file is no id mask, or of another size than the first.
        """
        mask = read_mask(self.files[index])
        if mask.shape != self.size[::-1]:
            found = "{1} x {0}".format(*mask.shape)
            raise FormatError(self.files[index], None, "{} x {} pixels as in the first mask".format(*self.size), found)
        return mask

    def frames(self) -> Iterator[np.ndarray]:
        """The id masks one after the other."""
        return (self[index] for index in range(len(self)))

    def tracks(self) -> Tracks:
        """The boxes round all masks; ids are those of the masks."""
        found = [(index, *boxes_of_mask(mask)) for index, mask in enumerate(self.frames())]
        frames = np.repeat([index for index, _, _ in found], [len(ids) for _, ids, _ in found])
        ids = np.concatenate([np.zeros(0, dtype=np.int64), *(ids for _, ids, _ in found)])
        return Tracks.from_arrays(frames, ids, np.concatenate([np.zeros((0, 4)), *(boxes for _, _, boxes in found)]))


def read_masks(folder: str | Path) -> MaskSequence:
    """Read the masks of one sequence: a folder of PNG files, or of ``Annotations`` with them.

    Raises:
        UserError: There are none.
    """
    folder = absolute(folder)
    inner = folder / "Annotations"
    files = tuple(path for path in list_images(inner if inner.is_dir() else folder) if path.suffix.lower() == ".png")
    if not files:
        raise UserError(f"{folder}: expected a folder of PNG masks")
    name = folder.parent.name if folder.name == "Annotations" else folder.name
    return MaskSequence(name, files, image_size(files))


def find_masks(root: str | Path) -> dict[str, Path]:
    """The sequences of a data set root with ``Annotations``, as names and folders of PNG files.

    DAVIS (``Annotations/480p/<name>``, the largest resolution where there are several) and YouTube-VOS
    (``Annotations/<name>``).
    """
    return {path.name: path for path in sequence_folders(Path(root) / "Annotations")}


def sequence_folders(folder: Path) -> list[Path]:
    """Folders of images under ``Annotations`` or ``JPEGImages``: one a sequence, beneath a resolution in DAVIS."""
    for resolution in ("Full-Resolution", "1080p", "480p"):
        if (folder / resolution).is_dir():
            folder = folder / resolution
            break
    return sorted(p for p in folder.iterdir() if p.is_dir() and list_images(p)) if folder.is_dir() else []


def read_mask(path: str | Path) -> np.ndarray:
    """Read one id mask from a palette or grey PNG.

    Palette indices and grey values are the ids.  A grey image that holds only 0 and 255 is a mask of one object, 1.

    Returns:
        (H, W) uint8.

    Raises:
        FormatError: The file is no PNG with one value of at most 255 a pixel.
        UserError: There is no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        with Image.open(path) as image:
            mode, values = image.mode, np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise FormatError(path, None, "a PNG file that is whole") from None
    if mode == "1":
        return values.astype(np.uint8)
    if mode not in ("P", "L", "I", "I;16") or values.max(initial=0) > 255:
        raise FormatError(path, None, "a palette or grey PNG with ids from 0 to 255", f"mode {mode}")
    if mode == "L" and values.max(initial=0) == 255 and not ((values > 0) & (values < 255)).any():
        return (values == 255).astype(np.uint8)
    return values.astype(np.uint8)


def write_masks(
    folder: str | Path, masks: Iterable[np.ndarray], names: Sequence[str] | None = None, overwrite: bool = False
) -> None:
    """Write id masks as palette PNG files in DAVIS's colours.

    Args:
        folder: Where to write; it appears when all masks are written.
        masks: (H, W) arrays of integers from 0 to 255.
        names: The files' names without suffix, one a mask; 00000, 00001, ... where not given.
        overwrite: Replace a folder that holds something.

    Raises:
        UserError: A mask is no such array, names are too few, or the folder holds something.
    """
    palette = davis_palette().ravel().tolist()
    with atomic_folder(folder, overwrite) as temporary:
        for index, mask in enumerate(masks):
            mask = np.asarray(mask)
            if mask.ndim != 2 or mask.dtype.kind not in "bui" or mask.min(initial=0) < 0 or mask.max(initial=0) > 255:
                raise UserError(
                    f"{folder}: expected masks (H, W) of integers from 0 to 255, mask {index} is {mask.dtype}"
                    f" {mask.shape}"
                )
            if names is not None and index >= len(names):
                raise UserError(f"{folder}: expected a name for every mask, found {len(names)}")
            image = Image.fromarray(mask.astype(np.uint8), mode="P")
            image.putpalette(palette)
            image.save(temporary / f"{f'{index:05d}' if names is None else names[index]}.png")


def davis_palette() -> np.ndarray:
    """The (256, 3) uint8 colours of PASCAL VOC and DAVIS: the bits of the id dealt to R, G, B from the top bit down."""
    ids = np.arange(256)[:, None]
    channels = np.arange(3)[None]
    colours = sum((ids >> (3 * k + channels) & 1) << (7 - k) for k in range(8))
    return colours.astype(np.uint8)


def boxes_of_mask(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that enclose the objects of an id mask.

    Args:
        mask: (H, W) integers, 0 for no object.

    Returns:
        ids (N,) int64 ascending; boxes (N, 4) float64 xyxy, from the first pixel's left border to the last's right.
    """
    slices = find_objects(mask.astype(np.int32, copy=False))
    found = [(i, s[1].start, s[0].start, s[1].stop, s[0].stop) for i, s in enumerate(slices, 1) if s is not None]
    table = np.array(found, dtype=np.float64).reshape(-1, 5)
    return table[:, 0].astype(np.int64), table[:, 1:]
