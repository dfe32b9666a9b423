"""A damaged checkpoint is noticed before anything starts from it."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from romul_slurm import manifest
from romul_slurm.errors import CheckpointDamaged


def published(directory: Path, *, checksums: bool = False) -> Path:
    """Return a checkpoint of some files."""
    checkpoint = directory / "checkpoint"
    (checkpoint / "shards").mkdir(parents=True)
    (checkpoint / "state.pt").write_bytes(bytes(range(256)) * 100)
    (checkpoint / "shards" / "0 of 2").write_bytes(b"one")
    (checkpoint / "shards" / "größe").write_bytes(b"")
    (checkpoint / "link").symlink_to("nowhere")
    manifest.write(checkpoint, checksums=checksums, epochs=3, safe_points=7)
    return checkpoint


@pytest.mark.parametrize("checksums", [False, True])
def test_what_was_published_is_in_order(tmp_path: Path, checksums: bool) -> None:
    content = manifest.verify(published(tmp_path, checksums=checksums))
    assert (content.epochs, content.safe_points) == (3, 7)
    assert manifest.size(tmp_path / "checkpoint") == 25603


def truncate(checkpoint: Path) -> None:
    os.truncate(checkpoint / "state.pt", 25599)


def lengthen(checkpoint: Path) -> None:
    (checkpoint / "state.pt").write_bytes((checkpoint / "state.pt").read_bytes() + b"x")


def delete_a_file(checkpoint: Path) -> None:
    (checkpoint / "shards" / "größe").unlink()


def delete_a_folder(checkpoint: Path) -> None:
    (checkpoint / "shards").rename(checkpoint.parent / "elsewhere")


def replace_a_folder(checkpoint: Path) -> None:
    delete_a_folder(checkpoint)
    (checkpoint / "shards").write_text("a file")


def delete_the_manifest(checkpoint: Path) -> None:
    (checkpoint / manifest.NAME).unlink()


def delete_everything(checkpoint: Path) -> None:
    checkpoint.rename(checkpoint.parent / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (truncate, "state.pt has 25599 bytes instead of 25600"),
        (lengthen, "state.pt has 25601 bytes instead of 25600"),
        (delete_a_file, "größe is missing"),
        (delete_a_folder, "is missing"),
        (replace_a_folder, "is missing"),
        (delete_the_manifest, "has no romul.json"),
        (delete_everything, "checkpoint is missing"),
    ],
)
def test_missing_and_cut_files_are_noticed(
    tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    checkpoint = published(tmp_path)
    damage(checkpoint)
    with pytest.raises(CheckpointDamaged, match=words):
        manifest.verify(checkpoint)


def flip_a_bit(path: Path, place: int) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def test_with_checksums_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    checkpoint = published(tmp_path, checksums=True)
    flip_a_bit(checkpoint / "state.pt", 12345)
    with pytest.raises(CheckpointDamaged, match="its checksum is wrong"):
        manifest.verify(checkpoint)


def test_any_flipped_bit_of_the_manifest_itself_is_noticed(tmp_path: Path) -> None:
    checkpoint = published(tmp_path)
    for place in range((checkpoint / manifest.NAME).stat().st_size):
        flip_a_bit(checkpoint / manifest.NAME, place)
        with pytest.raises(CheckpointDamaged, match=r"romul\.json"):
            manifest.verify(checkpoint)
        flip_a_bit(checkpoint / manifest.NAME, place)
    manifest.verify(checkpoint)


@pytest.mark.parametrize(
    "content",
    [
        '{"files":{"%2Fetc%2Fpasswd":{"size":1}}}',
        '{"files":{"..%2F..%2Fsecret":{"size":1}}}',
        '{"files":{"%2Fdev%2Fzero":{"size":0,"crc32":1}}}',
        '{"files":{"state.pt":{"size":9223372036854775808}}}',
        '{"files":{"state.pt":{"size":-5}}}',
        '{"files":{"shards":{"size":4096}}}',
    ],
)
def test_a_manifest_that_cannot_be_ours_is_damaged(tmp_path: Path, content: str) -> None:
    checkpoint = published(tmp_path)
    body = content.encode()
    (checkpoint / manifest.NAME).write_bytes(b"%08x %b\n" % (zlib.crc32(body), body))
    with pytest.raises(CheckpointDamaged):
        manifest.verify(checkpoint)


def test_file_names_need_not_be_unicode(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe %2F\n")
    (tmp_path / name).write_text("x")
    manifest.write(tmp_path, checksums=True)
    manifest.verify(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(CheckpointDamaged, match="is missing"):
        manifest.verify(tmp_path)


def test_a_manifest_copied_from_the_parent_is_replaced(tmp_path: Path) -> None:
    checkpoint = published(tmp_path)
    (checkpoint / "state.pt").write_bytes(b"short")
    manifest.write(checkpoint, checksums=False)
    manifest.verify(checkpoint)
