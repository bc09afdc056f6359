import msgspec
import pytest

from lockgate.client.client import Client
from lockgate.entities import Alert, ColumnDrift, MonitorWindow
from lockgate.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from lockgate.hashing import look_id


def window(window_id: str, end_at: int = 2) -> MonitorWindow:
    drift = ColumnDrift(
        column="age", method="ks", statistic=0.5, p_value=1e-300, p_adjusted=0.01, effect=0.3, drift_detected=True
    )
    return MonitorWindow(
        window_id=window_id,
        model="churn",
        environment="production",
        version=1,
        start_at=1,
        end_at=end_at,
        rows=100,
        labelled_rows=0,
        error_rate=0.0,
        latency_ms_p50=None,
        latency_ms_p99=1.5,
        drift=(drift,),
        quality=("age: 3 of 100 above 120",),
        performance={},
        alerts=("drift",),
        created_at=3,
    )


def alert(alert_id: str, *, environment: str = "production", opened_at: int = 1) -> Alert:
    return Alert(
        alert_id=alert_id, model="churn", environment=environment, kind="drift", summary="age", opened_at=opened_at
    )


def test_window_is_recorded_once(client: Client) -> None:
    first = client.monitoring.record_window(window("w1"))
    assert first == window("w1")
    again = client.monitoring.record_window(msgspec.structs.replace(window("w1"), rows=7))
    assert again == first
    assert [event.kind for event in client.events.list_events()] == ["window.recorded"]


def test_windows_are_listed_newest_first(client: Client) -> None:
    for number in range(3):
        client.monitoring.record_window(window(f"w{number}", end_at=10 + number))
    assert [item.window_id for item in client.monitoring.list_windows("churn", "production", limit=2)] == ["w2", "w1"]
    assert client.monitoring.list_windows("churn", "staging") == []
    assert [item.window_id for item in client.monitoring.list_windows("churn", limit=2)] == ["w2", "w1"]
    assert client.monitoring.list_windows("fraud") == []


def test_condition_opens_one_alert_until_it_is_closed(client: Client) -> None:
    assert client.monitoring.open_alert(alert("a1")) == (alert("a1"), True)
    assert client.monitoring.open_alert(alert("a2")) == (alert("a1"), False)
    assert client.monitoring.open_alert(alert("b1", environment="staging")) == (
        alert("b1", environment="staging"),
        True,
    )
    closed = client.monitoring.close_alerts("churn", "production", "drift", at=9)
    assert [(item.alert_id, item.closed_at) for item in closed] == [("a1", 9)]
    assert client.monitoring.close_alerts("churn", "production", "drift", at=10) == []
    assert client.monitoring.open_alert(alert("a3", opened_at=11))[1]
    assert [item.alert_id for item in client.monitoring.list_alerts("churn")] == ["a3", "b1", "a1"]
    assert {item.alert_id for item in client.monitoring.list_alerts(open_only=True)} == {"a3", "b1"}
    assert client.monitoring.list_alerts("other") == []


def test_alert_remembers_that_people_were_told(client: Client) -> None:
    client.monitoring.open_alert(alert("a1"))
    client.monitoring.mark_notified("a1", at=5)
    assert client.monitoring.list_alerts()[0].notified_at == 5
    with pytest.raises(NotFound):
        client.monitoring.mark_notified("nothing", at=5)


def test_window_id_of_another_look_is_refused(client: Client) -> None:
    client.monitoring.record_window(window("w1"))
    for change in ({"model": "fraud"}, {"environment": "staging"}, {"start_at": 0}, {"end_at": 9}):
        with pytest.raises(Conflict, match="another look"):
            client.monitoring.record_window(msgspec.structs.replace(window("w1"), **change))
    assert client.monitoring.list_windows("churn", "production") == [window("w1")]


def test_window_id_that_a_monitor_would_take_is_for_its_own_look(client: Client) -> None:
    own, others = look_id("churn", "production", 1, 2), look_id("fraud", "production", 1, 2)
    with pytest.raises(InvalidInput, match=f"expected '{own}'"):
        client.monitoring.record_window(window(others))
    assert client.monitoring.record_window(window(own)).window_id == own


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"window_id": ""}, "'window_id' has 0 characters, expected 1 to 200"),
        ({"window_id": "x" * 201}, "'window_id' has 201 characters"),
        ({"model": ""}, "'model' has 0"),
        ({"environment": "x" * 101}, "'environment' has 101"),
        ({"start_at": 5, "end_at": 1}, r"not \[5, 1\)"),
        ({"start_at": 2, "end_at": 2}, "ends after it starts"),
        ({"start_at": -1}, "'start_at' is -1, expected milliseconds"),
        ({"end_at": 1_700_000_000_000_000_000}, "'end_at' is 17"),
        ({"created_at": 2**70}, "'created_at' is"),
        ({"version": -1}, "'version' is -1, expected"),
        ({"version": 2**40}, "expected 1 to 2147483647"),
        ({"profile": "../../etc/passwd"}, "expected the digest"),
    ],
)
def test_window_that_cannot_be_is_refused(client: Client, change: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        client.monitoring.record_window(msgspec.structs.replace(window("w1"), **change))
    assert client.monitoring.list_windows("churn", "production") == []


def test_alert_id_of_another_alert_is_refused(client: Client) -> None:
    client.monitoring.open_alert(alert("a1"))
    with pytest.raises(AlreadyExists, match="another alert 'a1'"):
        client.monitoring.open_alert(alert("a1", environment="staging"))
    client.monitoring.close_alerts("churn", "production", "drift", at=2)
    with pytest.raises(AlreadyExists):
        client.monitoring.open_alert(alert("a1"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"alert_id": ""}, "'alert_id' has 0"),
        ({"alert_id": "x" * 201}, "'alert_id' has 201"),
        ({"model": "x" * 257}, "'model' has 257"),
        ({"environment": ""}, "'environment' has 0"),
        ({"window_id": "x" * 201}, "'window_id' exceeds"),
        ({"opened_at": 1_700_000_000_000_000_000}, "'opened_at' is 17"),
        ({"notified_at": -1}, "'notified_at' is -1"),
    ],
)
def test_alert_that_cannot_be_is_refused(client: Client, change: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        client.monitoring.open_alert(msgspec.structs.replace(alert("a1"), **change))
    assert client.monitoring.list_alerts() == []


def test_alert_is_neither_closed_nor_told_at_what_is_no_time(client: Client) -> None:
    client.monitoring.open_alert(alert("a1"))
    with pytest.raises(InvalidInput, match="'at' is"):
        client.monitoring.close_alerts("churn", "production", "drift", at=2**63)
    with pytest.raises(InvalidInput, match="'at' is"):
        client.monitoring.mark_notified("a1", at=-1)
    assert client.monitoring.list_alerts() == [alert("a1")]
