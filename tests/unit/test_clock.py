import time

from lockgate.clock import FakeClock, SystemClock


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
