"""Users, roles, tokens and the audit, through either transport."""

import pytest

from lockgate.client import access
from lockgate.client.client import Client
from lockgate.clock import FakeClock
from lockgate.entities import Grant
from lockgate.errors import AlreadyExists, Conflict, InvalidInput, NotFound

PASSWORD = "correct horse battery"


def test_user_has_the_roles_that_are_granted(client: Client, clock: FakeClock) -> None:
    made = client.access.add_user("ada", role="admin")
    assert (made.name, made.has_password, made.created_at, made.created_by) == ("ada", False, clock.now_ms(), "ann")
    assert made.grants == (Grant(pattern="*", role="admin"),)
    granted = client.access.grant_role("ada", "viewer", pattern="team/*")
    assert granted.grants == (Grant(pattern="*", role="admin"), Grant(pattern="team/*", role="viewer"))
    changed = client.access.grant_role("ada", "approver", pattern="team/*")
    assert changed.grants[1].role == "approver"
    assert client.access.revoke_role("ada", pattern="team/*") == made
    assert client.access.get_user("ada") == made


def test_users_are_listed_by_name_and_a_name_is_there_once(client: Client) -> None:
    client.access.add_user("zoe", role="admin", password=PASSWORD)
    client.access.add_user("ada", role="viewer", pattern="churn")
    assert [(user.name, user.has_password) for user in client.access.list_users()] == [("ada", False), ("zoe", True)]
    with pytest.raises(AlreadyExists):
        client.access.add_user("zoe", role="viewer")


def test_number_of_a_removed_user_is_not_given_again(client: Client) -> None:
    client.access.add_user("ada", role="admin")
    gone = client.access.add_user("bob", role="viewer").number
    client.access.remove_user("bob")
    assert client.access.add_user("bob", role="viewer").number > gone


def test_last_admin_stays_while_there_are_others(client: Client) -> None:
    with pytest.raises(Conflict, match="no admin"):
        client.access.add_user("bob", role="viewer")
    client.access.add_user("ada", role="admin")
    client.access.add_user("bob", role="viewer")
    for refused in (
        lambda: client.access.remove_user("ada"),
        lambda: client.access.revoke_role("ada"),
        lambda: client.access.grant_role("ada", "approver"),
    ):
        with pytest.raises(Conflict, match="no admin"):
            refused()
    assert client.access.get_user("ada").grants == (Grant(pattern="*", role="admin"),)
    client.access.grant_role("bob", "admin")
    client.access.remove_user("ada")
    client.access.remove_user("bob")
    assert client.access.list_users() == []


def test_admin_of_some_models_is_no_admin_of_the_installation(client: Client) -> None:
    with pytest.raises(Conflict):
        client.access.add_user("ada", role="admin", pattern="churn")


def test_what_is_not_there_is_named(client: Client) -> None:
    client.access.add_user("ada", role="admin")
    for missing in (
        lambda: client.access.get_user("bob"),
        lambda: client.access.remove_user("bob"),
        lambda: client.access.set_password("bob", PASSWORD),
        lambda: client.access.grant_role("bob", "viewer"),
        lambda: client.access.create_token("bob"),
        lambda: client.access.list_tokens("bob"),
    ):
        with pytest.raises(NotFound, match="no user 'bob'"):
            missing()
    with pytest.raises(NotFound, match=r"no role on 'churn'; there are roles on: \*"):
        client.access.revoke_role("ada", pattern="churn")
    with pytest.raises(NotFound, match="no token"):
        client.access.revoke_token("0" * 12)


def test_short_password_is_refused_before_anything_is_made(client: Client) -> None:
    with pytest.raises(InvalidInput, match="12 to 1024"):
        client.access.add_user("ada", role="admin", password="short")
    assert client.access.list_users() == []


def test_tokens_go_with_their_user_and_cannot_be_read_again(client: Client, clock: FakeClock) -> None:
    client.access.add_user("ada", role="admin")
    client.access.add_user("ci", role="contributor")
    expires_at = clock.now_ms() + 1000
    made = client.access.create_token("ci", note="nightly", expires_at=expires_at)
    assert (made.token.user, made.token.note, made.token.expires_at) == ("ci", "nightly", expires_at)
    assert made.text.startswith(f"lockgate_{made.token.token_id}_")
    other = client.access.create_token("ada")
    assert {token.token_id for token in client.access.list_tokens()} == {made.token.token_id, other.token.token_id}
    assert client.access.list_tokens("ci") == [made.token]
    client.access.remove_user("ci")
    assert client.access.list_tokens() == [other.token]
    client.access.revoke_token(other.token.token_id)
    assert client.access.list_tokens() == []


def test_token_that_would_never_have_been_good_is_refused(client: Client, clock: FakeClock) -> None:
    client.access.add_user("ada", role="admin")
    with pytest.raises(InvalidInput, match="expired before"):
        client.access.create_token("ada", expires_at=clock.now_ms())
    with pytest.raises(InvalidInput, match="expected milliseconds since 1970"):
        client.access.create_token("ada", expires_at=clock.now_ms() * 1_000_000)


def test_audit_tells_what_was_done_to_users(client: Client) -> None:
    client.access.add_user("ada", role="admin")
    client.access.grant_role("ada", "viewer", pattern="churn")
    told = [(entry.operation, entry.details) for entry in client.access.list_audit()]
    assert told == [
        ("access.grant_role", {"user": "ada", "role": "viewer", "pattern": "churn"}),
        ("access.add_user", {"user": "ada", "role": "admin", "pattern": "*"}),
    ]
    with pytest.raises(InvalidInput):
        client.access.list_audit(limit=0)


def test_audit_is_read_to_its_end(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "_PAGE", 2)
    names = [f"m{number}" for number in range(5)]
    for name in names:
        client.registry.ensure_model(name)
    assert [entry.subject for entry in client.access.iter_audit()] == names[::-1]
    assert [entry.subject for entry in client.access.iter_audit(model="m0", user="ann")] == ["m0"]
    assert list(client.access.iter_audit(user="bob")) == []
    newest = client.access.list_audit(limit=3)
    assert [entry.subject for entry in client.access.list_audit(before=newest[-1].sequence)] == ["m1", "m0"]
