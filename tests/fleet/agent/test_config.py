"""agent.yaml and the commands around it. When these fail, a person in a clinic sees a traceback."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.errors import SpecError
from edge.fleet.agent import link_errors
from edge.fleet.agent.command import agent
from edge.fleet.agent.config import load_config
from edge.fleet.agent.said import Said
from tests.fleet.agent.makers import Clock, make_outbox

LEAST = "version: 1\ndevice: tablet-07\nprofile: notes\n"
DOCS = Path(__file__).parents[3] / "docs/agent.md"


def test_the_least_and_the_one_in_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: the defaults, or the file that a field team copies, are not what the agent takes."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path))
    path = tmp_path / "agent.yaml"
    path.write_text(LEAST)
    found = load_config(path)
    assert (found.device, found.home, found.slots) == ("tablet-07", tmp_path / "fleet", tmp_path / "slots")
    assert (found.every, found.broker, found.updates) == (timedelta(hours=24), None, None)
    shown = re.search(r"```yaml\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert shown is not None
    path.write_text(shown[1])
    assert load_config(path).lock_folder == tmp_path


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("benchmark:\n  every_h: 0\n", r"agent\.yaml:5: key 'benchmark\.every_h': 0 must be at least 1"),
        ("benchmark:\n  workload: quik\n", r"'quik' is not allowed \(allowed: quick, full; did you mean quick\?\)"),
        ("brooker:\n  host: x\n", r"agent\.yaml:4: key 'brooker' is not known .*did you mean broker"),
        ("home: fleet\n", r"key 'home': 'fleet' is not a path from the root"),
        ("updates: [http://x/repo]\n", r"key 'updates\[0\]': is neither an https:// address nor a folder"),
        ("outbox:\n  rows_max: many\n", r"key 'outbox\.rows_max': 'many' must be a whole number"),
        ("device: tablet-08\n", r"key 'device' is given twice"),
    ],
)
def test_errors_name_file_line_and_key(tmp_path: Path, more: str, words: str) -> None:
    """If not: a person looks for the wrong line."""
    path = tmp_path / "agent.yaml"
    path.write_text(LEAST + more)
    with pytest.raises(SpecError, match=words):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LEAST.replace("tablet-07", "collector-1"), "reserved"),
        (LEAST.replace("tablet-07", "Tablet 7"), "lower case"),
        (LEAST.replace("notes", "Notes!"), "lower case"),
        (LEAST.replace("version: 1", "version: 2"), "from a later edge"),
    ],
)
def test_names_that_no_device_may_have(tmp_path: Path, text: str, words: str) -> None:
    """If not: a device takes the name of the fleet's own parts."""
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=words):
        load_config(path)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If not: a device cannot be enrolled, looked at or asked."""
    monkeypatch.setenv("EDGE_HOME", str(tmp_path / "home"))
    path = tmp_path / "agent.yaml"
    path.write_text(LEAST)

    def run(*words: str) -> str:
        done = CliRunner().invoke(agent, ["--config", str(path), *words], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.output

    assert "device key" in run("request", "--to", str(tmp_path))
    first = (tmp_path / "tablet-07.request.json").read_bytes()
    run("request", "--to", str(tmp_path))
    assert (tmp_path / "tablet-07.request.json").stat().st_size == pytest.approx(len(first), abs=10)
    assert oct((tmp_path / "home/fleet/identity/tls.key").stat().st_mode & 0o777) == "0o600"
    assert "asked" in run("bench", "--workload", "full")
    assert len(list((tmp_path / "home/fleet/requests").iterdir())) == 1
    assert run("outbox") == "nothing waits\n"
    outbox = make_outbox(tmp_path / "home/fleet/outbox.db")
    outbox.queue("org.edge-kit.telemetry.v1", b"{}")
    assert "1 events wait" in run("outbox")
    assert '"seq": 1' in run("outbox", "--json")
    outbox.close()
    assert "this device is not enrolled" in run("status")
    with pytest.raises(SpecError, match="this device is not enrolled"):
        run()
    with pytest.raises(Exception, match=r"no such file|No such file"):
        run("enrol", str(tmp_path / "nothing.json"))
    assert "--config" in CliRunner().invoke(agent, ["--help"]).output
    assert CliRunner().invoke(agent, ["bench", "--help"]).exit_code == 0


def test_why_there_is_no_connection() -> None:
    """If not: a person reads a library's words, or an expired certificate is tried every second."""
    verify = ssl.SSLCertVerificationError(1, "x")
    for code, words in ((9, "look at this device's clock"), (10, "expired"), (62, "another name"), (19, "fleet's CA")):
        verify.verify_code, verify.verify_message = code, "secret words"
        line, identity = link_errors.in_words(verify)
        assert words in line
        assert identity
        assert "secret" not in line
    cases: list[tuple[BaseException, str, bool]] = [
        (ConnectionRefusedError(111, "x"), "nobody answers", False),
        (socket.gaierror(-2, "x"), "name is not known", False),
        (TimeoutError("x"), "does not answer", False),
        (ssl.SSLError(1, "tlsv13 alert certificate required"), "wants a certificate", True),
        (ssl.SSLError(1, "[SSL: SSLV3_ALERT_CERTIFICATE_EXPIRED] sslv3 alert certificate expired"), "expired", True),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "broke off", False),
        (OSError(113, "No route to host"), "no way to the broker", False),
        (SpecError("certificate, key and CA do not fit"), "do not fit", True),
        (ValueError("Jane Quimby"), "no connection (ValueError)", False),
    ]
    for error, words, identity in cases:
        assert link_errors.in_words(error)[1] is identity
        assert words in link_errors.in_words(error)[0]
    assert link_errors.refusal_in_words(0x87)[1]
    assert not link_errors.refusal_in_words(0x88)[1]


def test_said_once() -> None:
    """If not: a broker that is away for a week fills the journal."""
    clock, lines = Clock(), list[str]()
    said = Said(lines.append, clock.monotonic, again_s=100)
    for _ in range(5):
        said("a", "one")
        said("b", "one")
    said("a", "two")
    clock.forward(101)
    said("a", "two")
    said.over("a", "good again")
    said.over("a", "good again")
    assert lines == ["one", "one", "two", "two", "good again"]
