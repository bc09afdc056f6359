import fcntl
import mmap
import subprocess
import sys
from pathlib import Path

import pytest

from lockgate.client.outbox.segment import Header, Segment, frame
from lockgate.errors import DataDamaged

HEADER = Header("a" * 32, "http://127.0.0.1:5000")
PAYLOADS = [b"first", b"second, and longer", b"x" * 300_000, b"last"]


def written(folder: Path, *payloads: bytes) -> Path:
    segment = Segment.create(folder, "a-b-000000", HEADER, room=1 << 20)
    for payload in payloads:
        segment.append(frame(payload))
    segment.close()
    return segment.path


def read_all(segment: Segment) -> list[bytes]:
    """Everything behind `sent`, which moves on."""
    found: list[bytes] = []
    while items := segment.read():
        found += [payload for payload, _ in items]
        segment.mark_sent(items[-1][1])
    return found


def adopted(path: Path) -> Segment:
    segment = Segment.adopt(path)
    assert segment is not None
    return segment


def test_records_are_read_in_order_by_the_process_that_writes_and_by_a_later_one(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, "a-b-000000", HEADER, room=1 << 20)
    for payload in PAYLOADS:
        segment.append(frame(payload))
    assert read_all(segment)[:2] == PAYLOADS[:2]
    segment.mark_sent(len(segment.path.read_bytes()) - (1 << 20))  # back to the start: nothing was sent
    segment.close()
    later = adopted(segment.path)
    assert later.header == HEADER
    assert read_all(later) == PAYLOADS
    assert later.torn_bytes() == 0
    later.close()


def test_what_was_marked_sent_is_not_read_again(tmp_path: Path) -> None:
    path = written(tmp_path, b"one", b"two")
    first = adopted(path)
    first.mark_sent(first.read()[0][1])
    first.close()
    second = adopted(path)
    assert read_all(second) == [b"two"]
    second.close()


MARKING = """
import sys
from pathlib import Path
from lockgate.client.outbox.segment import Segment
segment = Segment.adopt(Path(sys.argv[1]))
while True:
    for end in map(int, sys.argv[2:]):
        segment.mark_sent(end)
"""


def test_mark_is_whole_at_any_moment_at_which_its_process_may_be_killed(tmp_path: Path) -> None:
    path = written(tmp_path, b"one")
    ends = [0x010101, 0x020202]
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as seen:
        marking = subprocess.Popen([sys.executable, "-c", MARKING, str(path), *map(str, ends)])
        try:
            while int.from_bytes(seen[8:16], "little") != ends[1]:
                assert marking.poll() is None
            marks = {int.from_bytes(seen[8:16], "little") for _ in range(300_000)}
        finally:
            marking.kill()
            marking.wait()
    assert marks <= set(ends)


@pytest.mark.parametrize("mark", [0, 20, 1 << 30, 1 << 63])
def test_damaged_mark_makes_a_sender_repeat_everything(tmp_path: Path, mark: int) -> None:
    path = written(tmp_path, *PAYLOADS)
    data = path.read_bytes()
    path.write_bytes(data[:8] + mark.to_bytes(8, "little") + data[16:])
    segment = adopted(path)
    assert segment.is_untouched
    assert read_all(segment) == PAYLOADS
    segment.close()


def test_record_cut_off_at_any_byte_is_not_read_and_those_before_it_are(tmp_path: Path) -> None:
    path = written(tmp_path, b"whole", b"cut off")
    data = path.read_bytes()
    end = data.index(b"cut off") + len(b"cut off")
    for cut in range(end - len(b"cut off") - 8, end):
        path.write_bytes(data[:cut] + bytes(len(data) - cut))
        segment = adopted(path)
        assert read_all(segment) == [b"whole"], cut
        segment.close()


@pytest.mark.parametrize("flipped", [0, 4, 8, 10])  # length, checksum, first and later byte of the record
def test_damaged_record_is_not_read_and_is_counted(tmp_path: Path, flipped: int) -> None:
    path = written(tmp_path, b"whole", b"damaged")
    data = bytearray(path.read_bytes())
    start = data.index(b"damaged") - 8
    data[start + flipped] ^= 0x40
    path.write_bytes(data)
    segment = adopted(path)
    assert read_all(segment) == [b"whole"]
    assert segment.torn_bytes() == 8 + len(b"damaged")
    segment.close()


@pytest.mark.parametrize("flipped", [0, 2, 3, 4, 8, 300])  # length, checksum, first and later byte of the record
def test_what_is_behind_a_damaged_record_is_read(tmp_path: Path, flipped: int) -> None:
    damaged = b"damaged" + bytes(1000)
    path = written(tmp_path, b"whole", damaged, b"behind", b"last\0")
    data = bytearray(path.read_bytes())
    start = data.index(b"damaged") - 8
    data[start + flipped] ^= 0x40
    path.write_bytes(data)
    segment = adopted(path)
    assert read_all(segment) == [b"whole", b"behind", b"last\0"]
    assert (segment.damaged_bytes, segment.torn_bytes()) == (8 + len(damaged), 0)
    segment.close()


def test_what_is_behind_a_page_that_was_never_written_is_read(tmp_path: Path) -> None:
    records = [f"{number:06}".encode() * 20 for number in range(200)]
    path = written(tmp_path, *records)
    data = bytearray(path.read_bytes())
    data[8192:12288] = bytes(4096)  # of a map, a power cut may take any
    path.write_bytes(data)
    segment = adopted(path)
    found = read_all(segment)
    assert found == [record for record in records if record in data]
    assert len(found) > 150
    assert segment.damaged_bytes >= 4096
    segment.close()


def test_segment_has_one_holder(tmp_path: Path) -> None:
    segment = Segment.create(tmp_path, "a-b-000000", HEADER, room=100)
    assert Segment.adopt(segment.path) is None
    segment.close()
    first = adopted(segment.path)
    assert Segment.adopt(segment.path) is None
    first.delete()
    assert Segment.adopt(segment.path) is None
    assert list(tmp_path.iterdir()) == []


def test_unfinished_segment_that_somebody_is_making_is_not_discarded(tmp_path: Path) -> None:
    hidden = tmp_path / ".lockgate-1-ab-x.segment"
    with hidden.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        Segment.discard(hidden)
        assert hidden.exists()
    Segment.discard(hidden)
    assert not hidden.exists()


def test_room_is_what_was_asked_for(tmp_path: Path) -> None:
    record = frame(b"x" * 92)
    segment = Segment.create(tmp_path, "a-b-000000", HEADER, room=2 * len(record))
    segment.append(record)
    assert segment.has_room(record)
    segment.append(record)
    assert not segment.has_room(frame(b"x"))
    assert read_all(segment) == [b"x" * 92] * 2
    segment.close()


@pytest.mark.parametrize("content", [b"", b"lockgate", b"lockgate" + bytes(100), b"something else" * 10])
def test_other_file_is_no_segment(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a-b-000000.segment"
    path.write_bytes(content)
    with pytest.raises(DataDamaged, match="not a segment"):
        Segment.adopt(path)
