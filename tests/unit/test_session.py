from pathlib import Path

from lockgate.config import Settings
from lockgate.session import Place


def test_password_of_an_address_is_not_written_into_the_outbox(tmp_path: Path) -> None:
    place = Place(Settings(uri="http://ann:s3cret@far:5000/base"), None, "ann", "a" * 32, tmp_path)
    assert place.header().uri == place.home == "http://far:5000/base"
