"""Reading text whatever editor it came from, and writing files and folders that are either whole or absent."""

from __future__ import annotations

import codecs
import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from scenegraph_track.errors import UserError

IMAGE_SUFFIXES = frozenset({".bmp", ".jp2", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})
"""Lower-case suffixes of files that count as images in a folder."""

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def read_text(path: str | Path) -> str:
    r"""Read a text file: UTF-8 or (by its byte order mark) UTF-16, line ends turned into ``\n``.

    Bytes that are no UTF-8 become U+FFFD, so that a parser names the line where they stand.

    Raises:
        UserError: The file is missing, a folder, or not readable.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot read the file ({_reason(error)})") from None
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def absolute(path: str | Path) -> Path:
    """The path from the root, so that it has a name; symbolic links keep theirs unless the path goes up by ``..``."""
    path = Path(path).absolute()
    return path.resolve() if ".." in path.parts else path


def natural_key(name: str | Path) -> tuple[tuple[int, int | str], ...]:
    """Sort key in which numbers count as numbers: ``img2 < img10``."""
    parts = re.split(r"(\d+)", str(name), flags=re.ASCII)
    return tuple((0, int(part)) if i % 2 else (1, part) for i, part in enumerate(parts))


def list_images(folder: Path) -> tuple[Path, ...]:
    """The image files directly in a folder, naturally sorted; hidden files are left out."""
    if not folder.is_dir():
        return ()
    with os.scandir(folder) as entries:
        names = [
            e.name for e in entries if not e.name.startswith(".") and Path(e.name).suffix.lower() in IMAGE_SUFFIXES
        ]
    return tuple(folder / name for name in sorted(names, key=natural_key))


def refuse_no_file(path: Path) -> None:
    """Refuse to write where something stands that is no file.

    Raises:
        UserError: ``path`` is a folder, a device or a pipe.
    """
    if path.exists() and not path.is_file():
        found = "a folder" if path.is_dir() else "a device or a pipe"
        raise UserError(f"{path}: expected a file or a name that is free, found {found}")


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary path beside ``path`` (same folder, same suffix) that becomes ``path`` when the block ends well.

    For writers that want a file name (a video encoder).  Parents are created.  After an exception, an interrupt
    included, the temporary file is removed and ``path`` is as it was.

    A symbolic link stays one: what it leads to is written.

    Raises:
        UserError: The folder cannot be created or written, or ``path`` is a folder, a device or a pipe.
        OSError: The disk is full; ``path`` is its file name where it had none.
    """
    path = Path(path)
    path = path.resolve() if path.is_symlink() else path
    refuse_no_file(path)
    temporary = _beside(path)
    try:
        with _naming(path):
            yield temporary
        try:
            temporary.replace(path)
        except OSError as error:
            raise UserError(f"{path}: cannot write the file ({_reason(error)})") from None
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: str | Path, mode: str = "w") -> Iterator[IO[Any]]:
    r"""Open a file that appears under its name only when the block ends well (temporary file, then ``os.replace``).

    Args:
        path: Where the file shall stand; parents are created, an existing file is replaced.
        mode: "w" for UTF-8 text with ``\n`` line ends on every system, "wb" for bytes.

    Raises:
        UserError: The folder cannot be created or written, or ``path`` is a folder.
    """
    if mode not in ("w", "wb"):
        raise ValueError(f"atomic_write: mode must be 'w' or 'wb', not {mode!r}")
    text = {"encoding": "utf-8", "newline": "\n"} if mode == "w" else {}
    with atomic_path(path) as temporary:
        try:
            file = temporary.open(mode, **text)  # type: ignore[call-overload]
        except OSError as error:
            raise UserError(f"{path}: cannot write the file ({_reason(error)})") from None
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def atomic_folder(path: str | Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder beside ``path`` that becomes ``path`` when the block ends well.

    Args:
        path: Where the folder shall stand; parents are created.
        overwrite: Replace a folder that stands there and is not empty.

    Raises:
        UserError: ``path`` is a file, or holds something and ``overwrite`` is not set, or cannot be written.
        OSError: The disk is full; ``path`` is its file name where it had none.
    """
    path = Path(path)
    if path.is_dir() and not overwrite and any(path.iterdir()):
        raise UserError(f"{path}: the folder exists and is not empty")
    if path.is_file():
        raise UserError(f"{path}: expected a folder, found a file")
    temporary = _beside(path)
    try:
        temporary.mkdir()
    except OSError as error:
        raise UserError(f"{path}: cannot create the folder ({_reason(error)})") from None
    try:
        with _naming(path):
            yield temporary
        old = _beside(path)
        if path.is_dir():
            path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Let an error that says that the disk is full name this file, where it names none."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)
        raise


def _beside(path: Path) -> Path:
    """A hidden name in the same folder that nobody uses; the folder is created."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot create the folder ({_reason(error)})") from None
    return path.parent / f".{path.stem}.{secrets.token_hex(4)}.tmp{path.suffix}"


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def same_bytes(content: bytes) -> bytes:
    """A safetensors file with its header sorted: the library writes metadata in a random order."""
    size = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + size :]
