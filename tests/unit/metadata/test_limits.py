import pytest

from lockgate.errors import InvalidInput
from lockgate.metadata.limits import cut_text, require_batch, require_key, require_run_id, require_text, require_unique


@pytest.mark.parametrize("key", ["a", "a b", "a/b", "a:b", "loss-1.5_x", "é", "x" * 250])
def test_key_is_taken(key: str) -> None:
    require_key(key, "Metric")


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "Missing value for required parameter 'name'."),
        ("x" * 251, "Metric name exceeds the maximum length of 250 characters."),
        ("a?", r"""Invalid value "a\?" for parameter 'name' supplied: Names may only contain"""),
        ("a\n", "Names may only contain"),
        ("../a", r"would resolve to '\.\./a'"),
        ("/a", "would resolve to '/a'"),
        ("a/../b", "would resolve to 'b'"),
        ("a/", "would resolve to 'a'"),
        (".", r"would resolve to '\.'"),
    ],
)
def test_key_is_refused_in_mlflows_words(key: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        require_key(key, "Metric", "name")


def test_long_text_is_cut_or_refused() -> None:
    assert cut_text("x" * 7000, 6000, "value") == "x" * 6000
    assert require_text("x" * 10, 10, "value") == "x" * 10
    with pytest.raises(InvalidInput, match="'value' exceeds the maximum length of 10 characters: it has 11"):
        require_text("x" * 11, 10, "value")


@pytest.mark.parametrize("take", [cut_text, require_text])
def test_nul_is_refused_for_postgresql_cannot_store_it(take) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        take("a\0b", 10, "value")


@pytest.mark.parametrize("counts", [(1001, 0, 0), (0, 101, 0), (0, 0, 101), (950, 51, 0), (900, 100, 1)])
def test_batch_beyond_mlflows_limits_is_refused(counts: tuple[int, int, int]) -> None:
    with pytest.raises(InvalidInput, match="A batch logging request can contain at most"):
        require_batch(*(range(count) for count in counts))


@pytest.mark.parametrize("counts", [(1000, 0, 0), (800, 100, 100), (0, 0, 0)])
def test_batch_within_the_limits_is_taken(counts: tuple[int, int, int]) -> None:
    require_batch(*(range(count) for count in counts))


@pytest.mark.parametrize("run_id", ["", "?", "-a", "a" * 257, "a/b"])
def test_what_cannot_be_a_run_id_is_refused(run_id: str) -> None:
    with pytest.raises(InvalidInput, match="for parameter 'run_id'"):
        require_run_id(run_id)


def test_param_given_twice_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="Duplicate parameter keys have been submitted: b"):
        require_unique(["a", "b", "b"])
