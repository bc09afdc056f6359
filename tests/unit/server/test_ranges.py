import pytest

from lockgate.server.ranges import OutsideOfFile, wanted_range


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-", range(10)),
        ("bytes=4-", range(4, 10)),
        ("bytes=4-4", range(4, 5)),
        ("bytes=4-99", range(4, 10)),
        ("bytes=-3", range(7, 10)),
        ("bytes=-99", range(10)),
        ("bytes = 2 - 3", range(2, 4)),
    ],
)
def test_range_of_ten_bytes(header: str, wanted: range) -> None:
    assert wanted_range(header, 10) == wanted


@pytest.mark.parametrize("header", ["", "bytes", "bytes=-", "lines=1-2", "bytes=5-4", "bytes=0-1,3-4", "bytes=a-b"])
def test_what_is_no_single_range_means_the_whole_file(header: str) -> None:
    assert wanted_range(header, 10) is None


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=99-100", 10), ("bytes=-0", 10), ("bytes=0-", 0)]
)
def test_range_after_the_last_byte_is_an_error(header: str, size: int) -> None:
    with pytest.raises(OutsideOfFile) as refused:
        wanted_range(header, size)
    assert refused.value.http_status == 416
