"""YAML to checked objects: positions and the one line for each kind of broken file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from edge.errors import ExitStatus, SpecError
from edge.specs.yaml_source import Spec, dotted, load_yaml, nearest, shown, validate


class Wheel(Spec):
    size: int = Field(ge=1, le=9)
    colour: Literal["red", "green"] = "red"


class Car(Spec):
    version: Literal[1]
    name: str = Field(min_length=1)
    speed: float | None = None
    wheels: tuple[Wheel, ...] = ()
    spare: Wheel | None = None


GOOD = "version: 1\nname: mini\nspeed: 1e2\nwheels:\n  - {size: 3}\n  - size: 4\n    colour: green\n"


def write(folder: Path, text: str | bytes, name: str = "car.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refusal(folder: Path, text: str | bytes) -> str:
    """The message for `text`, checked to be one line of the right kind, without the folder."""
    with pytest.raises(SpecError) as caught:
        validate(Car, write(folder, text))
    message = str(caught.value)
    assert caught.value.status is ExitStatus.SPEC
    assert "\n" not in message
    return message.replace(f"{folder}/", "")


def test_good_file_is_read(tmp_path: Path) -> None:
    """A right file must be accepted, with 1e2 as a number (YAML 1.1 would make it text)."""
    car = validate(Car, write(tmp_path, GOOD))
    assert car.speed == 100.0
    assert [wheel.colour for wheel in car.wheels] == ["red", "green"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "car.yaml: the file is empty; start from a file of profiles/ or targets/."),
        ("# only a comment\n", "car.yaml: the file is empty"),
        ("- a\n- b\n", "car.yaml:1: must be a mapping of keys to values."),
        ("just words\n", "car.yaml:1: must be a mapping"),
        (b"version: 1\nname: \xff\xfe\n", "car.yaml:2: is not UTF-8 text; save it as UTF-8."),
        ("version: 1\nname: a\nname: b\n", "car.yaml:3: key 'name' is given twice, first in line 2"),
        ("version: 1\nspare:\n  size: 1\n  size: 2\n", "car.yaml:4: key 'spare.size' is given twice, first in line 3"),
        ("version: 1\nname: [a\n", "car.yaml:3: not valid YAML (expected ',' or ']'"),
        ("version: 1\n\tname: a\n", "car.yaml:2: not valid YAML (found character"),
        ("version: 1\nname: a\x00b\n", "car.yaml:2: character 0x0000 is not allowed in YAML."),
        ("version: 1\n---\nversion: 1\n", "car.yaml:2: not valid YAML (but found another document)"),
        ("version: 1\nname: &a x\nspeed: *a\n", "car.yaml:3: not valid YAML (aliases are not used here)"),
        ("version: 1\nname: !!python/name:os.system\n", "car.yaml:2: key 'name': tag"),
        ("version: 1\n? [a, b]\n: 1\n", "car.yaml:2: a key must be a word."),
        ('version: 1\nname: "\\ud800"\n', "car.yaml:2: key 'name': half of a surrogate pair is not text."),
        ("version: 1\nspeed: 1e999\n", "car.yaml:2: key 'speed': '1e999' is too large."),
        (f"version: 1\nspeed: {'9' * 5000}\n", "car.yaml:2: key 'speed': '9999"),
        ("name: " + "[" * 100 + "]" * 100, "car.yaml:1: not valid YAML (nested too deeply)"),
        ("name: " + "[" * 100_000, "car.yaml:1: not valid YAML (nested too deeply)"),
        (b"a: " + b"x" * (1 << 20), "car.yaml: is larger than 1 MiB"),
    ],
)
def test_broken_file_is_one_line(tmp_path: Path, text: str | bytes, message: str) -> None:
    """A file that is not plain YAML must give one line with its place, never a traceback of the parser."""
    assert message.lower() in refusal(tmp_path, text).lower()


def test_missing_file_folder_and_unreadable(tmp_path: Path) -> None:
    """A path without a regular file must be named, not opened (a FIFO would hang)."""
    for path, words in (
        (tmp_path / "none.yaml", "there is no such file"),
        (tmp_path, "is a folder, not a file"),
    ):
        with pytest.raises(SpecError, match=words) as caught:
            load_yaml(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 2\nnew_key: 1\n", "car.yaml:1: key 'version': 2 is from a later edge (this one reads 1)"),
        ("version: 0\nname: a\n", "car.yaml:1: key 'version': 0 is not allowed (allowed: 1)."),
        ("version: one\nname: a\n", "car.yaml:1: key 'version': 'one' is not allowed (allowed: 1)."),
        ("version: 1\n", "car.yaml:1: key 'name' is missing."),
        ("version: 1\nnmae: a\nname: b\n", "car.yaml:2: key 'nmae' is not known (known: version, name, speed,"),
        ("version: 1\nnmae: a\nname: b\n", "did you mean name?)"),
        ("version: 1\nname: a\nspare:\n  size: 1\n  color: red\n", "car.yaml:5: key 'spare.color' is not known"),
        ("version: 1\nname: a\nspare:\n  size: 1\n  color: red\n", "(known: size, colour; did you mean colour?)"),
        (
            "version: 1\nname: a\nwheels:\n  - size: 1\n  - size: 1\n    colour: gren\n",
            "car.yaml:6: key 'wheels[1].colour': 'gren' is not allowed (allowed: red, green; did you mean green?).",
        ),
        ("version: 1\nname: a\nspare: {size: 0}\n", "car.yaml:3: key 'spare.size': 0 must be at least 1."),
        ("version: 1\nname: a\nspare: {size: 10}\n", "car.yaml:3: key 'spare.size': 10 must be at most 9."),
        ("version: 1\nname: a\nspare: {size: '3'}\n", "car.yaml:3: key 'spare.size': '3' must be a whole number."),
        ("version: 1\nname: a\nspare: {size: 1.5}\n", "key 'spare.size': 1.5 must be a whole number."),
        ("version: 1\nname: a\nspare: {size: true}\n", "key 'spare.size': true must be a whole number."),
        ("version: 1\nname: 3\n", "car.yaml:2: key 'name': 3 must be text."),
        ("version: 1\nname: ''\n", "car.yaml:2: key 'name' must not be empty."),
        ("version: 1\nname: a\nspeed: fast\n", "key 'speed': 'fast' must be a number."),
        ("version: 1\nname: a\nwheels: 4\n", "key 'wheels': 4 must be a list."),
        ("version: 1\nname: a\nspare: red\n", "key 'spare': 'red' must be a mapping of keys."),
        ("version: 1\nname: a\nspare: []\n", "key 'spare': a list must be a mapping of keys."),
        ("version: 1\nspeed: x\nspare: {size: 99}\n", "car.yaml:1: key 'name' is missing (and 2 more)."),
    ],
)
def test_wrong_value_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    """A wrong key or value must name file, line, key and what is allowed, or nobody finds it in a long profile."""
    assert message in refusal(tmp_path, text)


def test_words_of_yaml_1_1_stay_words(tmp_path: Path) -> None:
    """`no`, `on` and `12:30` are text; YAML 1.1 would turn them into False, True and 750."""
    path = write(tmp_path, "a: no\nb: on\nc: 12:30\nd: 010\ne: 8_192\nf: ~\ng: 1.\nh: 2024-01-01\n")
    assert load_yaml(path)[0] == {
        "a": "no",
        "b": "on",
        "c": "12:30",
        "d": 10,
        "e": 8192,
        "f": None,
        "g": 1.0,
        "h": "2024-01-01",
    }


def test_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    """Editors on Windows write a byte order mark; it must not become part of the first key."""
    assert load_yaml(write(tmp_path, b"\xef\xbb\xbfversion: 1\n"))[0] == {"version": 1}


def test_long_values_are_cut() -> None:
    """A message must stay one short line, whatever stands in the file."""
    assert len(shown("x" * 1000)) <= 42
    assert dotted(("sources", 0, "claim")) == "sources[0].claim"


def test_nearest_prefers_the_closer_letters() -> None:
    """`int3` is as many letters from int8 as from int4; the nearer number must win."""
    assert nearest("int3", ["none", "int8", "int4", "mixed"]) == "int4"
    assert nearest("INT8", ["none", "int8", "int4"]) == "int8"
    assert nearest("zebra", ["none", "int8"]) is None


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False, width=32)
    | st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abcdefgh_", min_size=1, max_size=8), PLAIN, min_size=1, max_size=5))
def test_what_yaml_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, value: dict[str, object]) -> None:
    """Law: our reader gives back what a YAML writer wrote with every text quoted; else a file changes meaning."""

    class Quoted(yaml.SafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

    Quoted.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_text(yaml.dump(value, Dumper=Quoted, allow_unicode=True), encoding="utf-8")
    assert load_yaml(path)[0] == value


@given(st.binary(max_size=300))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """Law: any bytes are either a mapping or a SpecError; another exception would reach the user's screen."""
    path = tmp_path_factory.mktemp("yaml") / "x.yaml"
    path.write_bytes(data)
    try:
        value, positions = load_yaml(path)
    except SpecError as error:
        assert "\n" not in str(error)
    else:
        assert isinstance(value, dict)
        assert positions.line(()) is not None
