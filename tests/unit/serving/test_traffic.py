from pathlib import Path

import pytest

from lockgate.entities import Observation, Traffic, TrafficShare, VersionCounters
from lockgate.errors import DataDamaged
from lockgate.serving.traffic import read_observations, read_traffic, write_observation, write_traffic


def traffic(revision: int) -> Traffic:
    shares = (
        TrafficShare(version=1, digest="a" * 64, share=0.95),
        TrafficShare(version=2, digest="b" * 64, share=0.05),
    )
    return Traffic(model="m", environment="e", revision=revision, shares=shares, changed_at=5)


def observation(replica: str, at: int) -> Observation:
    counters = (VersionCounters(version=1, requests=5, errors=1, latency_ms_edges=(1.0,), latency_ms_counts=(4, 1)),)
    return Observation(replica=replica, revision=3, observed_at=at, ready=True, counters=counters)


def test_traffic_is_read_back_and_replaced(tmp_path: Path) -> None:
    assert read_traffic(tmp_path / "e") is None
    for revision in (1, 2):
        write_traffic(tmp_path / "e", traffic(revision))
    assert read_traffic(tmp_path / "e") == traffic(2)
    assert [path.name for path in (tmp_path / "e").iterdir()] == ["traffic.json"]


def test_broken_traffic_is_named(tmp_path: Path) -> None:
    (tmp_path / "traffic.json").write_text("{")
    with pytest.raises(DataDamaged, match=r"traffic\.json is no traffic split"):
        read_traffic(tmp_path)


def test_observations_of_all_replicas_that_are_young_enough(tmp_path: Path) -> None:
    for replica, at in (("a", 1000), ("b", 5000), ("c", 5400)):
        write_observation(tmp_path, observation(replica, at))
    (tmp_path / "replica-d.json").write_text("{")
    assert [item.replica for item in read_observations(tmp_path, 1000)] == ["b", "c"]
    assert [item.replica for item in read_observations(tmp_path, 1000, now_ms=6300)] == ["c"]
    assert read_observations(tmp_path, 10_000)[0] == observation("a", 1000)
    assert read_observations(tmp_path / "nowhere", 1000) == []
