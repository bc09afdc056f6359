from pathlib import Path

import msgspec
import pytest

from lockgate.documents import MAX_VALUES, parse_document, read_document
from lockgate.errors import InvalidInput, NotFound
from lockgate.project import Section

PATH = Path("x.yaml")


class Leaf(Section, frozen=True, kw_only=True):
    size: int = 0
    color: str = "red"


class Tree(Section, frozen=True, kw_only=True):
    name: str
    leaves: dict[str, Leaf] = {}
    rows: list[Leaf] = []
    nested: dict[str, dict[str, list[Leaf]]] = {}


def error_of(text: str) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        parse_document(PATH, text).convert(Tree)
    return caught.value


def test_values_are_those_of_yaml_and_keys_are_always_text() -> None:
    document = parse_document(PATH, "a: yes\n2: 1.5\nc: [null, ~, '1', 0x10]\nno: 2026-01-02\n")
    assert document.value["a"] is True
    assert document.value["2"] == 1.5
    assert document.value["c"] == [None, None, "1", 16]
    assert document.value["no"].isoformat() == "2026-01-02"


def test_each_value_knows_its_line() -> None:
    document = parse_document(PATH, "a:\n  b: 1\n  c:\n    - x\n    - y: 2\n")
    assert document.lines[()] == 1
    assert document.lines[("a", "c")] == 3
    assert document.lines[("a", "c", 1, "y")] == 5


def test_empty_text_is_an_empty_mapping() -> None:
    assert parse_document(PATH, "# nothing\n").value == {}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: b: c", 1, "not valid YAML"),
        ("a: 1\n\tb: 2", 2, "not valid YAML"),
        ("a: [1,\n  2", 2, "not valid YAML"),
        ("---\na: 1\n---\nb: 2", 3, "another document"),
        ("a: 1\nb: 2\na: 3", 3, "'a' is given twice"),
        ("x: &a\n  - *a", 1, "contains itself"),
        ("? [a, b]\n: c", 1, "a key is plain text"),
        ("x: 1\n<<: [1]", 2, "merges mappings only"),
        ("a: !!python/name:os.system ''", 1, "could not determine a constructor"),
    ],
)
def test_broken_text_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_document(PATH, text)
    assert caught.value.message.startswith(f"x.yaml:{line}: ")
    assert says in caught.value.message


def test_tag_on_a_collection_builds_no_object() -> None:
    assert parse_document(PATH, "a: !!python/object/apply:os.system [x]").value == {"a": ["x"]}


def test_merge_keys_fill_in_what_is_not_given() -> None:
    text = "base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\nall:\n  <<: [*b, *m]\n  x: 0\n"
    assert parse_document(PATH, text).value["all"] == {"x": 0, "y": 1, "z": 2}


def test_aliases_cannot_grow_without_end() -> None:
    text = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(InvalidInput, match=f"more than {MAX_VALUES:,} values"):
        parse_document(PATH, text)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("{}", "x.yaml:1: object missing required field `name`.", None),
        ("name: 3", "x.yaml:1: expected `str`, got `int` at name.", None),
        ("nmae: x", "x.yaml:1: unknown key 'nmae'.", "did you mean 'name'?"),
        ("name: x\nqqqq: 1", "x.yaml:2: unknown key 'qqqq'.", "the keys here are: leaves, name, nested, rows"),
        (
            "name: x\nleaves:\n  a: {size: 1}\n  b:\n    size: big",
            "x.yaml:5: expected `int`, got `str` at leaves.b.size.",
            None,
        ),
        (
            "name: x\nleaves:\n  a: {size: 1}\n  b:\n    colour: red",
            "x.yaml:5: unknown key 'colour'.",
            "did you mean 'color'?",
        ),
        ("name: x\nrows:\n  - size: 1\n  - sise: 1", "x.yaml:4: unknown key 'sise'.", "did you mean 'size'?"),
        (
            "name: x\nnested:\n  p: {q: []}\n  r:\n    s:\n      - size: 1\n      - size: []",
            "x.yaml:7: expected `int`, got `array` at nested.r.s.1.size.",
            None,
        ),
        ("name: x\nleaves: [1]", "x.yaml:2: expected `object`, got `array` at leaves.", None),
        ("name: x\nleaves:\n  a: null", "x.yaml:3: expected `object`, got `null` at leaves.a.", None),
    ],
)
def test_what_does_not_fit_is_named_with_line_and_nearest_key(text: str, message: str, hint: str | None) -> None:
    error = error_of(text)
    assert (error.message, error.hint) == (message, hint)


def test_error_points_at_the_deepest_line_known() -> None:
    document = parse_document(PATH, "a:\n  b: 1\n")
    assert document.error(("a", "b", "c", 7), "no.").message == "x.yaml:2: no."


def test_document_converts_to_any_msgspec_type() -> None:
    assert parse_document(PATH, "[1, 2]").convert(list[int]) == [1, 2]
    assert parse_document(PATH, "name: x").convert(Tree) == Tree(name="x")
    assert msgspec.json.encode(Tree(name="x")) == b'{"name":"x","leaves":{},"rows":[],"nested":{}}'


def test_missing_file_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no file .*gone\.yaml"):
        read_document(tmp_path / "gone.yaml")


def test_folder_and_foreign_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_document(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9t\xe9\n")
    with pytest.raises(InvalidInput, match="is not UTF-8 text: byte 3"):
        read_document(tmp_path / "latin.yaml")
