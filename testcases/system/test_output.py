from __future__ import annotations

import hashlib
import os
import signal
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import InfraError
from harness.formats.hashing_process import BUFFER, BUFFERS, NUMBERS
from harness.formats.output import Output, open_content
from harness.formats.tree import Entry
from harness.image import initramfs
from testcases.support.leftovers import children, none_left
from testcases.support.profiles import fewer

if TYPE_CHECKING:
    from collections.abc import Iterable

FILE = stat.S_IFREG | 0o644


class Kept(bytearray):
    """Takes a stream and keeps it."""

    def write(self, data: bytes | memoryview) -> int:
        self.extend(data)
        return len(data)


# Sizes around those of the buffers, which a file fills, ends with, or runs over.
sizes = st.one_of(
    st.integers(0, 300),
    st.builds(
        lambda many, more: many * BUFFER + more,
        st.sampled_from([1, 2, BUFFERS + 2]),
        st.sampled_from([-1, 0, 1, 77]),
    ),
)


@fewer(5)
@given(files=st.lists(st.tuples(sizes, st.booleans(), st.integers(0, 200)), max_size=12))
def test_the_stream_is_what_went_in_and_each_file_has_its_own_hash(
    tmp_path_factory: pytest.TempPathFactory, files: Iterable[tuple[int, bool, int]]
) -> None:
    directory = tmp_path_factory.mktemp("files")
    stream, expected, sums = Kept(), bytearray(), {}
    with Output(stream) as output:
        for number, (size, from_disk, between) in enumerate(files):
            content = hashlib.shake_128(bytes([number])).digest(size)
            path = f"file-{number}"
            output.put(bytes(between))
            if from_disk:
                place = directory / path
                place.write_bytes(content)
                entry = Entry(path, FILE, place)
                fd = open_content(entry, place)
                output.copy_file(entry, fd, size)
                os.close(fd)
            else:
                output.put_file(path, content)
            expected += bytes(between) + content
            sums[path] = hashlib.sha256(content).hexdigest()
            assert output.length == len(expected)
    assert stream == expected
    assert output.sums == sums


def test_more_empty_files_than_a_table_holds_have_hashes() -> None:
    nothing = hashlib.sha256().hexdigest()
    with Output(Kept()) as output:
        for number in range(NUMBERS):
            output.put_file(f"empty-{number}", b"")
    assert output.sums == {f"empty-{number}": nothing for number in range(NUMBERS)}


def test_a_small_image_starts_no_process() -> None:
    before = children()
    with Output(Kept()) as output:
        output.put_file("small", bytes(BUFFER))
        assert children() <= before
    assert output.sums == {"small": hashlib.sha256(bytes(BUFFER)).hexdigest()}


@pytest.mark.parametrize("end", [None, RuntimeError])
def test_no_process_and_no_descriptor_stay(end: type[Exception] | None) -> None:
    def write() -> None:
        with Output(Kept()) as output:
            output.put_file("large", bytes(3 * BUFFER))
            assert len(children() - before) == 1
            if end:
                raise end

    before = children()
    with none_left(), pytest.raises(end) if end else nullcontext():
        write()


def test_an_image_whose_hashing_process_dies_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = children()
    target = tmp_path / "image"

    class Deadly(Path):
        """A file whose opening kills the process."""

        _flavour = getattr(Path(), "_flavour", None)

        def __fspath__(self) -> str:
            for child in children() - before:
                os.kill(child, signal.SIGKILL)
            return super().__fspath__()

    entries = [Entry(f"{number}", FILE, bytes(BUFFER)) for number in range(4)]
    (tmp_path / "content").write_bytes(bytes(2 * BUFFERS * BUFFER))
    entries.append(Entry("last", FILE, Deadly(tmp_path / "content")))
    reason = r"cannot hash the content of an image: .* ended with status -9"
    with none_left(), pytest.raises(InfraError, match=reason):
        initramfs.write(entries, target)
    assert not target.exists()
