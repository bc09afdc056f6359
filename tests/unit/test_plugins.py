from importlib.metadata import EntryPoint, EntryPoints

import pytest

from lockgate import plugins
from lockgate.errors import InvalidInput, NotFound
from lockgate.plugins import CI, load_plugin, plugin_names


def test_own_integrations_are_found_through_entry_points() -> None:
    assert {"azure", "circleci", "github", "gitlab", "jenkins", "travis"} <= set(plugin_names(CI))
    assert load_plugin(CI, "github").title == "GitHub Actions"


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(NotFound) as caught:
        load_plugin(CI, "githb")
    assert caught.value.hint == "did you mean 'github'?"


def test_unknown_group_is_empty() -> None:
    assert plugin_names("lockgate.nothing") == []
    with pytest.raises(NotFound, match="there are: none"):
        load_plugin("lockgate.nothing", "x")


@pytest.mark.parametrize("target", ["lockgate.gone:x", "lockgate.plugins:gone"])
def test_broken_plugin_is_named_with_what_it_points_at(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    broken = EntryPoints([EntryPoint("mine", target, "lockgate.ci")])
    monkeypatch.setattr(plugins, "entry_points", lambda **wanted: broken.select(**wanted))
    with pytest.raises(InvalidInput, match=target):
        load_plugin(CI, "mine")
