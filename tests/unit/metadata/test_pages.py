import pytest

from lockgate.errors import InvalidInput
from lockgate.metadata.pages import decode_offset, encode_offset


def test_token_leads_back_to_its_offset() -> None:
    assert decode_offset(encode_offset(1234)) == 1234
    assert decode_offset("") == 0


@pytest.mark.parametrize("token", ["x", "é", encode_offset(1)[:-1] + "!", "bw==", "eDEy", "b" * 100])
def test_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInput, match="page token"):
        decode_offset(token)
