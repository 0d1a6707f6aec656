"""--device: what is understood, and what is refused before anything is started."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.device.reach.base import Address, parse_address
from edge.errors import InputError


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local", Address("local")),
        ("ssh://pi@board.local", Address("ssh", "board.local", "pi")),
        ("ssh://board:2222", Address("ssh", "board", "", 2222)),
        ("ssh://pi@[fe80::1%eth0]:22", Address("ssh", "fe80::1%eth0", "pi", 22)),
        ("adb:R58M123ABC", Address("adb", "R58M123ABC")),
        ("adb:192.168.1.4:5555", Address("adb", "192.168.1.4:5555")),
        ("adb:", Address("adb")),
        ("emulated:raspberry-pi-5", Address("emulated", "raspberry-pi-5")),
    ],
)
def test_forms(text: str, found: Address) -> None:
    """If it fails, an address of the documentation is not understood."""
    assert parse_address(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        "board",
        "ssh://",
        "ssh://-oProxyCommand=touch x",
        "ssh://-l@board",
        "ssh://pi:secret@board",
        "ssh://board:99999",
        "ssh://board:0",
        "ssh://board/path",
        "ssh://a b",
        "adb:-s",
        "adb",
        "emulated:../x",
        "local:x",
        "http://board",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    """If it fails, an address becomes an option of ssh or a path."""
    with pytest.raises(InputError, match="is not known; give local, ssh://"):
        parse_address(text)


@given(st.text(max_size=40))
def test_no_name_is_an_option(text: str) -> None:
    """If it fails, somebody's text after ssh:// runs a program here."""
    for prefix in ("ssh://", "ssh://x@", "adb:", "emulated:"):
        try:
            found = parse_address(prefix + text)
        except InputError:
            continue
        assert not found.name.startswith("-")
        assert not found.user.startswith("-")
        assert not any(character.isspace() for character in found.name + found.user)
