import os
from pathlib import Path

import pytest

from lockgate.automation.guard import driver_address, is_driven, key_reference, only_one, write_key
from lockgate.clock import FakeClock
from lockgate.errors import Conflict


def test_a_second_holder_is_refused_with_the_first_ones_process_id(tmp_path: Path) -> None:
    with only_one(tmp_path, FakeClock()):
        with pytest.raises(Conflict, match=f"process {os.getpid()}"), only_one(tmp_path, FakeClock()):
            pass
        assert is_driven(tmp_path)
    assert not is_driven(tmp_path)


def test_a_project_that_never_ran_is_not_driven(tmp_path: Path) -> None:
    assert not is_driven(tmp_path)


def test_the_lock_can_be_taken_again(tmp_path: Path) -> None:
    for _ in range(2):
        with only_one(tmp_path, FakeClock()):
            assert is_driven(tmp_path)


def test_the_holders_address_is_known_once_it_is_announced_and_not_after_it_ended(tmp_path: Path) -> None:
    with only_one(tmp_path, FakeClock()) as announce:
        assert driver_address(tmp_path) == ""
        announce("http://127.0.0.1:5000")
        assert driver_address(tmp_path) == "http://127.0.0.1:5000"
        with pytest.raises(Conflict, match=f"process {os.getpid()}\\."), only_one(tmp_path, FakeClock()):
            pass
    assert driver_address(tmp_path) == ""


def test_key_is_this_users_alone_and_another_each_time(tmp_path: Path) -> None:
    assert key_reference(tmp_path) == ""
    (tmp_path / "up.key").write_text("left by one that was killed, and open to everybody")
    (tmp_path / "up.key").chmod(0o666)
    first = write_key(tmp_path)
    assert (tmp_path / "up.key").stat().st_mode & 0o777 == 0o600
    assert key_reference(tmp_path) == f"file:{tmp_path / 'up.key'}"
    assert (tmp_path / "up.key").read_text() == first != write_key(tmp_path)
