from lockgate.automation.triggers import Seen, changed_data, find_cause, first_sight, next_window, started
from lockgate.entities import Alert
from lockgate.project import Retrain

HOUR = 3_600_000
NOW = 1_700_000_000_000


def alert(kind: str = "drift", *, alert_id: str = "a1", closed_at: int | None = None) -> Alert:
    return Alert(
        alert_id=alert_id,
        model="churn",
        environment="production",
        kind=kind,
        summary="age drifted",
        opened_at=NOW,
        closed_at=closed_at,
    )


def test_nothing_new_starts_nothing() -> None:
    retrain = Retrain(on=["data", "drift"])
    assert find_cause(retrain, seen=Seen(data={"rows": "a"}), data={"rows": "a"}, alerts=[], now=NOW) is None


def test_another_content_starts_a_run_and_says_which_file() -> None:
    cause = find_cause(Retrain(on=["data"]), seen=Seen(data={"rows": "a"}), data={"rows": "b"}, alerts=[], now=NOW)
    assert cause is not None
    assert (cause.kind, cause.reason) == ("data", "data changed: rows")


def test_a_file_seen_for_the_first_time_is_remembered_and_starts_nothing() -> None:
    seen = first_sight(Seen(), {"rows": "a"})
    assert seen.data == {"rows": "a"}
    assert changed_data(seen.data, {"rows": "a"}) == []
    assert changed_data({}, {"rows": "a"}) == []


def test_a_file_that_is_missing_now_starts_nothing() -> None:
    assert changed_data({"rows": "a"}, {}) == []


def test_changes_are_not_watched_unless_asked_for() -> None:
    assert find_cause(Retrain(on=[]), seen=Seen(data={"r": "a"}), data={"r": "b"}, alerts=[alert()], now=NOW) is None


def test_an_open_alert_starts_one_run() -> None:
    retrain = Retrain(on=["drift"])
    cause = find_cause(retrain, seen=Seen(), data={}, alerts=[alert()], now=NOW)
    assert cause is not None
    assert cause.key == "alert-a1"
    seen = started(Seen(), data={}, alerts=[alert()], now=NOW)
    assert find_cause(retrain, seen=seen, data={}, alerts=[alert()], now=NOW + 2 * HOUR) is None


def test_closed_alerts_and_other_kinds_start_nothing() -> None:
    retrain = Retrain(on=["drift"])
    alerts = [alert(closed_at=NOW), alert("health", alert_id="a2")]
    assert find_cause(retrain, seen=Seen(), data={}, alerts=alerts, now=NOW) is None


def test_the_cooldown_delays_a_run_and_does_not_forget_it() -> None:
    retrain = Retrain(on=["data"], cooldown="1h")
    seen = started(Seen(data={"rows": "a"}), data={"rows": "b"}, alerts=[], now=NOW)
    assert find_cause(retrain, seen=seen, data={"rows": "c"}, alerts=[], now=NOW + HOUR - 1) is None
    assert find_cause(retrain, seen=seen, data={"rows": "c"}, alerts=[], now=NOW + HOUR) is not None


def test_windows_are_aligned_and_complete() -> None:
    assert next_window(10_500, 2.0, after=None) == (8_000, 10_000)
    assert next_window(10_500, 2.0, after=10_000) == (8_000, 10_000)


def test_windows_follow_each_other_and_a_long_absence_is_not_made_up_for() -> None:
    assert next_window(16_500, 2.0, after=10_000) == (10_000, 12_000)
    assert next_window(1_000_500, 2.0, after=10_000) == (950_000, 952_000)
