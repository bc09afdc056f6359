"""Waiting for the end of a rollout, whoever drives it."""

from typing import Any

import pytest

from lockgate.delivery.advance import advance, drive, watch
from lockgate.entities import Rollout
from lockgate.project import Rollout as RolloutPlan

Place = Any  # conftest's Workplace: test folders are no packages


class Traffic:
    """The time of somebody who waits: each second brings two requests, and a look by `driver` where there is one."""

    def __init__(self, place: Place, driver: Any = None) -> None:  # a function without arguments
        self.now_ms, self.monotonic = place.clock.now_ms, place.clock.monotonic
        self._place, self._driver = place, driver

    def sleep(self, seconds: float) -> None:
        self._place.clock.sleep(seconds)
        self._place.target.requests += 2
        if self._driver is not None:
            self._driver()


@pytest.mark.parametrize(("is_driven_elsewhere", "seen"), [(False, ["12", "22"]), (True, ["14", "24"])])
def test_whoever_waits_hears_now_and_then_how_many_requests_are_missing(
    place: Place, is_driven_elsewhere: bool, seen: list[str]
) -> None:
    place.plan("staging", RolloutPlan(strategy="canary", steps=(100,), bake="2s", min_requests=30))
    place.drive(place.begin(1))
    rollout, place.target.requests = place.begin(2), 0

    def look() -> Rollout:
        now = place.clock.now_ms()
        return advance(place.client, place.target, rollout, now, "up", production="production")

    told: list[str] = []

    def say(rollout: Rollout) -> None:
        told.append(f"{rollout.state}: {rollout.reason}")

    if is_driven_elsewhere:
        clock = Traffic(place, look)
        ended = watch(place.client, place.target, rollout, clock=clock, poll_s=1.0, on_change=say)
    else:
        clock = Traffic(place)
        ended = drive(
            *(place.client, place.target, rollout), clock=clock, by="ann", production=None, poll_s=1.0, on_change=say
        )
    assert ended.state == "succeeded"
    assert told[-5:] == [
        "progressing: 100 % of traffic to version 2.",
        "baking: 1 replica(s) send 100 % to 2.",
        *(f"baking: {number} of 30 requests seen." for number in seen),
        "succeeded: version 2 serves everything.",
    ]
