import errno
import os
from pathlib import Path

import pytest

from scenegraph_track.errors import UserError
from scenegraph_track.files import atomic_folder, atomic_path, atomic_write, list_images, natural_key, read_text


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_text_comes_without_byte_order_mark_and_carriage_returns(tmp_path):
    path = tmp_path / "a.txt"
    for data in (b"\xef\xbb\xbf1\r\n2", "1\r2".encode("utf-16"), b"1\n2"):
        path.write_bytes(data)
        assert read_text(path) == "1\n2"


def test_unreadable_files_are_one_sentence(tmp_path):
    for path in (tmp_path / "none.txt", tmp_path, Path("a\0b")):
        with pytest.raises(UserError, match=r"no such file|cannot read"):
            read_text(path)


def test_numbers_in_names_sort_as_numbers():
    assert sorted(["img10", "img2", "a", "img1b", "10", "9"], key=natural_key) == [
        *("9", "10", "a", "img1b", "img2", "img10")
    ]


def test_images_are_listed_in_order_without_other_files(tmp_path):
    for name in ("10.jpg", "9.JPG", "b.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in list_images(tmp_path)] == ["9.JPG", "10.jpg", "b.png"]


def test_atomic_write_creates_parents_and_uses_plain_newlines(tmp_path):
    path = tmp_path / "a" / "b" / "c.txt"
    with atomic_write(path) as file:
        file.write("ä\n")
        assert not path.exists()  # nothing under the name before the block ends
    assert path.read_bytes() == b"\xc3\xa4\n"
    assert names(path.parent) == ["c.txt"]
    with atomic_write(path, "wb") as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, OSError, ValueError])
def test_a_failing_block_leaves_the_old_file_and_no_rest(tmp_path, interrupt):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(interrupt), atomic_write(path) as file:
        file.write("new")
        raise interrupt
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_written_files_have_the_permissions_of_ordinary_files(tmp_path):
    (tmp_path / "plain").touch()
    with atomic_write(tmp_path / "atomic") as file:
        file.write("x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_atomic_path_keeps_the_suffix_for_encoders(tmp_path):
    with atomic_path(tmp_path / "v.mp4") as temporary:
        assert temporary.suffix == ".mp4"
        assert temporary.parent == tmp_path
        temporary.write_bytes(b"video")
    assert names(tmp_path) == ["v.mp4"]


def test_a_folder_where_the_file_should_stand_is_an_error(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(UserError, match=r"a\.txt: .* found a folder"), atomic_write(tmp_path / "a.txt") as file:
        file.write("x")
    (tmp_path / "f").touch()
    with pytest.raises(UserError, match="cannot create the folder"), atomic_write(tmp_path / "f" / "x") as file:
        file.write("x")


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "p" / "out"
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "a").write_text("half")
        raise RuntimeError
    assert names(path.parent) == []
    with atomic_folder(path) as temporary:
        (temporary / "a").write_text("1")
    assert names(path) == ["a"]
    with pytest.raises(UserError, match="not empty"), atomic_folder(path):
        pass
    with atomic_folder(path, overwrite=True) as temporary:
        (temporary / "b").write_text("2")
    assert names(path) == ["b"]
    assert names(path.parent) == ["out"]


def test_a_full_disk_is_named_by_the_file_that_does_not_fit(tmp_path):
    def full() -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for place in (atomic_write, atomic_path, atomic_folder):
        with pytest.raises(OSError) as caught, place(tmp_path / "a.txt"):
            full()
        assert caught.value.filename == str(tmp_path / "a.txt")
    assert names(tmp_path) == []
    with pytest.raises(OSError) as caught, atomic_write(tmp_path / "a.txt"):
        (tmp_path / "input.txt").read_text()
    assert caught.value.filename == str(tmp_path / "input.txt")  # what the block itself names stays


def test_links_stay_links_and_pipes_stay_pipes(tmp_path):
    target, link, pipe = tmp_path / "a.json", tmp_path / "link.json", tmp_path / "pipe.json"
    target.write_text("old")
    link.symlink_to(target)
    with atomic_write(link) as file:
        file.write("new")
    assert link.is_symlink() and target.read_text() == "new"
    os.mkfifo(pipe)
    with pytest.raises(UserError, match="found a device or a pipe"), atomic_write(pipe) as file:
        file.write("new")
    assert pipe.is_fifo() and names(tmp_path) == ["a.json", "link.json", "pipe.json"]
