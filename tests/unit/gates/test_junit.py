import pytest

from lockgate.errors import InvalidInput
from lockgate.gates.junit import read_junit

PYTEST = """<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" tests="4">
<testcase classname="t" name="ok" time="0.1" />
<testcase classname="t" name="bad"><failure message="assert 1 == 2&#10;more">text</failure></testcase>
<testcase classname="t" name="broken"><error message="boom"/></testcase>
<testcase classname="t" name="later"><skipped message="not yet"/></testcase>
</testsuite></testsuites>"""


def write(tmp_path, text: str | bytes):
    path = tmp_path / "junit.xml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_pytests_report_is_counted(tmp_path) -> None:
    found = read_junit(write(tmp_path, PYTEST))
    assert (found.tests, found.failed, found.skipped, found.ran) == (4, 2, 1, 3)
    assert found.failures == [("t::bad", "assert 1 == 2"), ("t::broken", "boom")]


def test_a_single_suite_without_a_wrapper_is_counted(tmp_path) -> None:
    found = read_junit(
        write(tmp_path, '<testsuite><testcase name="a"/><testcase name="b"><failure/></testcase></testsuite>')
    )
    assert (found.tests, found.failed, found.failures) == (2, 1, [("b", "")])


def test_a_failure_and_an_error_of_one_case_are_one_failed_case(tmp_path) -> None:
    found = read_junit(write(tmp_path, '<s><testcase name="a"><failure/><error/></testcase></s>'))
    assert (found.tests, found.failed) == (1, 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_are_refused_in_any_encoding(tmp_path, encoding: str) -> None:
    bomb = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE s [<!ENTITY a "b">]><s>&a;</s>'
    with pytest.raises(InvalidInput, match="document type"):
        read_junit(write(tmp_path, bomb.encode(encoding)))


@pytest.mark.parametrize("text", ["", "not xml", "<s><testcase></s>"])
def test_what_is_no_xml_is_refused(tmp_path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"junit\.xml is no XML"):
        read_junit(write(tmp_path, text))
