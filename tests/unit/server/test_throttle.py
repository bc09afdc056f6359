import pytest

from lockgate.clock import FakeClock
from lockgate.errors import TooManyRequests
from lockgate.server import throttle
from lockgate.server.throttle import Throttle


def test_attempts_are_paid_for_one_by_one_and_come_back_with_time() -> None:
    clock = FakeClock()
    tried = Throttle(clock, per_minute=6)
    for _ in range(6):
        tried.take("ann")
    with pytest.raises(TooManyRequests) as refused:
        tried.take("ann")
    assert refused.value.retry_after_s == pytest.approx(10)
    tried.take("bob")
    clock.sleep(10)
    tried.take("ann")
    with pytest.raises(TooManyRequests):
        tried.take("ann")


def test_attempt_that_was_right_costs_nothing() -> None:
    tried = Throttle(FakeClock(), per_minute=2)
    for _ in range(20):
        tried.take("ann")
        tried.give_back("ann")


def test_waiting_long_saves_no_more_than_a_minutes_attempts() -> None:
    clock = FakeClock()
    tried = Throttle(clock, per_minute=2)
    tried.take("ann")
    clock.sleep(3600)
    tried.take("ann")
    tried.take("ann")
    with pytest.raises(TooManyRequests):
        tried.take("ann")


def test_made_up_names_do_not_fill_the_memory() -> None:
    tried = Throttle(FakeClock(), per_minute=1)
    for number in range(throttle._MAX_KEYS + 10):
        tried.take(f"user-{number}")
    assert len(tried._buckets) == throttle._MAX_KEYS


def test_names_that_cost_nothing_crowd_nobody_out() -> None:
    clock = FakeClock()
    tried = Throttle(clock, per_minute=1)
    tried.take("guessed at")
    for number in range(throttle._MAX_KEYS + 1):
        tried.take(f"invented {number}")
        tried.give_back(f"invented {number}")
    with pytest.raises(TooManyRequests):
        tried.take("guessed at")


def test_attempt_that_was_right_and_is_forgotten_crowds_nobody_out() -> None:
    tried = Throttle(FakeClock(), per_minute=1)
    for number in range(throttle._MAX_KEYS):
        tried.take(f"guessed at {number}")
    tried.give_back("somebody who was crowded out")
    with pytest.raises(TooManyRequests):
        tried.take("guessed at 0")
