import os
from pathlib import Path

import pytest

from lockgate.automation.guard import driver_address, is_driven, only_one
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
