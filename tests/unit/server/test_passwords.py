import inspect

import pytest

from lockgate.errors import InvalidInput
from lockgate.server import bearer, passwords
from lockgate.server.passwords import COST, Cost, hash_password, nobodys_hash, verify_password

CHEAP = Cost(n=16, r=1, p=1)
PASSWORD = "correct horse battery"


def test_hash_states_its_parameters_and_takes_only_its_password() -> None:
    stored = hash_password(PASSWORD)
    assert stored.startswith("scrypt$32768$8$3$")
    assert verify_password(PASSWORD, stored)
    assert not verify_password(PASSWORD + " ", stored)
    assert not verify_password("", stored)


def test_same_password_of_two_users_has_two_hashes() -> None:
    assert hash_password(PASSWORD, cost=CHEAP) != hash_password(PASSWORD, cost=CHEAP)


def test_hash_of_other_parameters_stays_valid() -> None:
    assert verify_password(PASSWORD, hash_password(PASSWORD, cost=CHEAP))


def test_known_vector_of_rfc_7914_is_derived() -> None:
    # The RFC's vector has 64 bytes; the first 32 of scrypt's output do not depend on its length.
    key = bytes.fromhex("fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162")
    assert passwords._derive("password", b"NaCl", Cost(n=1024, r=8, p=16)) == key


def test_hash_for_unknown_names_costs_the_same_and_takes_nothing() -> None:
    stored = nobodys_hash()
    assert stored.split("$")[1:4] == [str(part) for part in COST]
    assert not verify_password(PASSWORD, stored)
    assert nobodys_hash() != stored


@pytest.mark.parametrize("password", ["", "eleven char", "x" * 1025])
def test_password_that_is_too_short_or_too_long_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="12 to 1024 characters"):
        hash_password(password, cost=CHEAP)


def test_secrets_are_compared_in_constant_time() -> None:
    for function in (verify_password, bearer.is_same_secret):
        source = inspect.getsource(function)
        assert "hmac.compare_digest(" in source
        assert "==" not in source


def test_token_is_read_back_and_its_secret_is_not_kept() -> None:
    made = bearer.new_token()
    presented = bearer.read_token(made.text)
    assert presented is not None
    assert presented == (made.token_id, made.digest)
    assert made.text.rpartition("_")[2] not in made.digest
    assert bearer.new_token().text != made.text


@pytest.mark.parametrize("text", ["", "lockgate_", "lockgate_000000000000_" + "g" * 64, "x" * 100, "lockgate_0_1\n"])
def test_what_is_no_token_is_none(text: str) -> None:
    assert bearer.read_token(text) is None
