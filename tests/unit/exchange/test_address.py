import pytest

from lockgate.errors import InvalidInput
from lockgate.exchange.address import split_login, without_login


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://ann:pw@host:5000/x", "http://***@host:5000/x"),
        ("postgresql+psycopg2://ann:p/w@x@host/db", "postgresql+psycopg2://***@host/db"),
        ("mysql://host/db?user=ann&password=pw&a=b", "mysql://host/db?user=ann&password=***&a=b"),
        ("ann:pw@host:5000", "***@host:5000"),
        ("http://host:5000", "http://host:5000"),
        ("file:///home/a@b/mlruns", "file:///home/a@b/mlruns"),
        ("sqlite:////home/a@b/mlflow.db", "sqlite:////home/a@b/mlflow.db"),
    ],
)
def test_login_is_not_shown(uri: str, shown: str) -> None:
    assert without_login(uri) == shown


def test_login_of_an_address_is_taken_out_of_it() -> None:
    assert split_login("https://ann:p%40w@host:5000/base") == ("https://host:5000/base", "ann", "p@w")
    for uri in ("http://host", "host:5000", "sqlite:///mlflow.db", "sqlite:////home/a@b/mlflow.db"):
        assert split_login(uri) == (uri, "", "")
    assert split_login("ann:pw@host:5000") == ("http://host:5000", "ann", "pw")
    with pytest.raises(InvalidInput):
        split_login("http://[host")
