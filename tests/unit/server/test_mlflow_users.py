"""MLflow's requests on users, where its model of them is not Lockgate's."""

import json
from typing import Any

import pytest

from lockgate.entities import Grant
from lockgate.errors import NotFound


@pytest.fixture
def ask(team) -> Any:
    """Asked by an admin: (name, method, values) -> status and body."""
    token = team.add("eve", "admin")

    def asked(name: str, method: str, **values: Any) -> tuple[int, Any]:
        path = f"/api/2.0/mlflow/users/{name}"
        answer: tuple[int, Any] = team.ask(token, method, path, json.dumps(values).encode())
        return answer

    return asked


@pytest.mark.parametrize(("role", "pattern"), [("contributor", "team/*"), ("approver", "*")])
def test_who_is_no_admin_keeps_their_roles_when_they_are_told_to_be_none(team, ask, role: str, pattern: str) -> None:
    team.add("bob", role, pattern=pattern)
    assert ask("update-admin", "PATCH", username="bob", is_admin=False)[0] == 200
    assert team.client.access.get_user("bob").grants == (Grant(pattern=pattern, role=role),)


def test_admin_that_is_none_any_more_stays_a_viewer(team, ask) -> None:
    team.add("bob", "admin")
    team.client.access.grant_role("bob", "contributor", pattern="team/*")
    assert ask("update-admin", "PATCH", username="bob", is_admin=False)[0] == 200
    kept = (Grant(pattern="*", role="viewer"), Grant(pattern="team/*", role="contributor"))
    assert team.client.access.get_user("bob").grants == kept
    assert ask("update-admin", "PATCH", username="nobody", is_admin=False)[0] == 404


@pytest.mark.parametrize("password", ["", "short"])
def test_user_is_not_made_without_a_good_password(team, ask, password: str) -> None:
    status, answer = ask("create", "POST", username="bob", password=password)
    assert (status, answer["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "12 to 1024" in answer["message"]
    with pytest.raises(NotFound):
        team.client.access.get_user("bob")
