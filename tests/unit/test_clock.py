import time

import pytest

from lockgate.clock import FakeClock, SystemClock, format_utc


def test_fake_clock_moves_only_when_slept_on_and_both_times_together() -> None:
    clock = FakeClock(1_000)
    assert (clock.now_ms(), clock.monotonic()) == (1_000, 0.0)
    clock.sleep(1.5)
    clock.sleep(0.0006)
    assert (clock.now_ms(), clock.monotonic()) == (2_501, 1.5006)


def test_system_clock_is_the_machines() -> None:
    clock = SystemClock()
    before = time.time_ns() // 1_000_000
    assert before <= clock.now_ms() <= time.time_ns() // 1_000_000
    earlier = clock.monotonic()
    clock.sleep(0)
    assert clock.monotonic() >= earlier


@pytest.mark.parametrize(
    ("at_ms", "shown"),
    [
        (0, "1970-01-01 00:00:00"),
        (1_700_000_000_999, "2023-11-14 22:13:20"),
        (253_402_300_799_999, "9999-12-31 23:59:59"),
        (253_402_300_800_000, "253402300800000"),
        (1_700_000_000_000_000_000, "1700000000000000000"),
        (-(10**400), f"-1{'0' * 400}"),
    ],
)
def test_time_that_no_calendar_has_is_shown_as_its_number(at_ms: int, shown: str) -> None:
    assert format_utc(at_ms) == shown
