"""`edge fleet` as a person types it. If these fail, a command lies, overwrites, or ends in a traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edge.bundle.keys import KeyStore
from edge.errors import EdgeError, SpecError
from edge.fleet.dev.command import fleet, host_and_port
from edge.fleet.pki.authority import Pki
from edge.fleet.pki.enrolment import make_request, new_tls_key, read_enrolment


def run(*arguments: object) -> Result:
    return CliRunner().invoke(fleet, [str(argument) for argument in arguments])


def good(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def test_from_nothing_to_a_revoked_device(tmp_path: Path) -> None:
    """The steps of docs/fleet.md do not work one after the other."""
    folder = ("--folder", tmp_path / "fleet")
    assert "broker mqtt.internal" in good("pki", "init", *folder, "--host", "mqtt.internal")
    again = run("pki", "init", *folder)
    assert isinstance(again.exception, SpecError)
    keys = KeyStore(tmp_path / "home")
    keys.create("unit", "device")
    request = tmp_path / "tablet-1.request.json"
    request.write_bytes(make_request("tablet-1", keys.load_signing_key("unit", "device"), new_tls_key()))
    said = good(
        "enrol", request, *folder, "--ring", "canary", "--updates", "https://mqtt.internal/repo/", "-o", tmp_path
    )
    assert said.startswith("enrolled: tablet-1")
    enrolment = read_enrolment((tmp_path / "tablet-1.enrolment.json").read_bytes(), "x", device="tablet-1")
    assert (enrolment.broker_host, enrolment.broker_port) == ("mqtt.internal", 8883)
    (row,) = json.loads(good("devices", *folder, "--json"))
    assert (row["device"], row["ring"], row["revoked_at"]) == ("tablet-1", "canary", None)
    assert "ring canary" in good("devices", *folder)
    assert good("enrol", request, *folder, "-o", tmp_path).startswith("renewed: tablet-1")
    assert "2 certificates" in good("revoke", "tablet-1", *folder)
    assert "revoked 2" in good("devices", *folder)
    shown = json.loads(good("pki", "show", *folder, "--json"))
    assert {item["state"] for item in shown["certificates"] if item["name"] == "tablet-1"} == {"revoked"}
    assert "revoked" in good("pki", "show", *folder)
    refused = run("enrol", request, *folder, "-o", tmp_path)
    assert isinstance(refused.exception, EdgeError) and "is revoked" in str(refused.exception)
    assert good("enrol", request, *folder, "-o", tmp_path, "--replace").startswith("enrolled: tablet-1")
    assert "collector-1.pem" in good("pki", "issue", "collector-1", *folder)
    assert "operator-2.pem" in good("pki", "issue", "operator-2", *folder)
    assert "broker.pem" in good("pki", "renew", "broker", *folder)
    assert good("pki", "renew", *folder) == ""
    assert good("pki", "renew", *folder, "--host", "new.internal").count("\n") == 2
    assert good("pki", "browser", "operator", *folder, "--password", "word", "-o", tmp_path / "o.p12").strip()
    assert run("pki", "browser", "collector", *folder, "--password", "word").exit_code != 0


def test_revoking_while_the_database_is_down(tmp_path: Path) -> None:
    """A stolen tablet stays in the fleet until somebody has mended the database."""
    folder = ("--folder", tmp_path / "fleet")
    good("pki", "init", *folder)
    pki = Pki.open(tmp_path / "fleet/pki")
    pki.issue_device("tablet-1")
    (tmp_path / "a-file").touch()
    result = run("revoke", "tablet-1", *folder, "--database", f"sqlite:///{tmp_path}/a-file/fleet.db")
    assert isinstance(result.exception, EdgeError)
    assert "revoked: tablet-1  1 certificate\n" in result.stdout
    assert pki.revoked_names() == ("tablet-1",)


def test_broker_config(tmp_path: Path) -> None:
    """The production folder lacks a file, holds the root's key, or opens the broker's key to others."""
    folder = ("--folder", tmp_path / "fleet")
    assert "require_certificate true" in good("broker-config")
    good("pki", "init", *folder)
    written = good("broker-config", *folder, "-o", tmp_path / "out").split()
    assert {Path(path).name for path in written} == {path.name for path in (tmp_path / "out").iterdir()}
    assert "root.key" not in "".join(written)
    assert (tmp_path / "out" / "broker.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "fleet" / "pki" / "root.key").read_bytes() not in [
        path.read_bytes() for path in (tmp_path / "out").iterdir()
    ]


def test_without_a_pki(tmp_path: Path) -> None:
    """A command in the wrong folder ends in a traceback."""
    for arguments in (("pki", "show"), ("pki", "renew"), ("revoke", "a"), ("enrol", "none"), ("check",),
                      ("broker-config", "-o", tmp_path / "out")):  # fmt: skip
        result = run(*arguments, "--folder", tmp_path / "none")
        assert isinstance(result.exception, SpecError), arguments
    assert run("enrol", "none", "--ring", "A B").exit_code != 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", ("a", 1)), ("a:2", ("a", 2)), ("[::1]:2", ("::1", 2)), ("::1", ("::1", 1)), ("10.0.0.1:9", ("10.0.0.1", 9))],
)
def test_host_and_port(text: str, expected: tuple[str, int]) -> None:
    """An address is read as another."""
    assert host_and_port(text, 1) == expected
