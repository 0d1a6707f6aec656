"""What a collector is told, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge.errors import SpecError
from edge.fleet.collector.settings import (
    credentials_in,
    is_loopback,
    published_bandwidths,
    read_database,
    read_settings,
    split_address,
)

TARGETS = Path(__file__).parents[3] / "targets"
SECRET = "s3cret-of-the-database"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Credentials, empty."""
    for name in ("ca.pem", "collector.pem", "collector.key"):
        (tmp_path / name).touch()
    return tmp_path


def written(folder: Path, **more: str) -> Path:
    lines = {"version": "1", "broker": "broker.example", "credentials": str(folder), "database": f"{folder}/a.db"}
    file = folder / "collector.yaml"
    file.write_text("".join(f"{name}: {value}\n" for name, value in (lines | more).items()))
    return file


def test_file_and_options(folder: Path) -> None:
    """If not: an option does not count more than the file, or a default is another than the docs say."""
    settings = read_settings(written(folder, page="127.0.0.1:8080"), broker="127.0.0.1:1884", name=None)
    assert (settings.host, settings.port, settings.name) == ("127.0.0.1", 1884, "collector")
    assert settings.page == ("127.0.0.1", 8080)
    assert read_settings(written(folder)).port == 8883
    assert settings.credentials.ca == folder / "ca.pem"


def test_the_pages_revocation_list(folder: Path) -> None:
    """If not: the page looks for the list elsewhere than the docs say, or asks for one that it does not need."""
    tls = {"page": "fleet.example:443", "page_certificate": "/x/page.pem", "page_key": "/x/page.key"}
    assert read_settings(written(folder, **tls)).page_crl == folder / "crl.pem"
    assert read_settings(written(folder, **tls, page_crl="/x/list.pem")).page_crl == Path("/x/list.pem")
    assert read_settings(written(folder, page="127.0.0.1:80")).page_crl is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"page": "0.0.0.0:80"}, "open to all"),
        ({"page": "fleet.example:80"}, "open to all"),
        ({"page_key": "/x"}, "go together"),
        ({"brocker": "x"}, "brocker"),
        ({"version": "2"}, "version"),
        ({"name": "tablet-1"}, "name"),
        ({"broker": "host:99999"}, "HOST:PORT"),
        ({"device_burst": "0"}, "device_burst"),
    ],
)
def test_refused(folder: Path, more: dict[str, str], said: str) -> None:
    """If not: a slip in the file is passed over, or the page is open to the clinic's network."""
    with pytest.raises(SpecError, match=said):
        read_settings(written(folder, **more))


def test_missing_credentials(tmp_path: Path) -> None:
    """If not: a missing certificate is a traceback."""
    with pytest.raises(SpecError, match=r"no ca\.pem"):
        credentials_in(tmp_path, "collector")


def test_nothing_given() -> None:
    """If not: a collector starts on a default that nobody chose."""
    with pytest.raises(SpecError, match="broker"):
        read_settings(None)
    with pytest.raises(SpecError, match="database"):
        read_database(None, None)


def test_password_from_a_file(folder: Path) -> None:
    """If not: the password must stand in the configuration or the list of processes; or a readable file is taken."""
    secret = folder / "password"
    secret.write_text(f"{SECRET}\n")
    secret.chmod(0o600)
    file = written(folder, database="postgresql://edge@db/fleet", database_password_file=str(secret))
    assert read_settings(file).database == f"postgresql://edge:{SECRET}@db/fleet"
    secret.chmod(0o644)
    with pytest.raises(SpecError, match="others can read") as caught:
        read_settings(file)
    assert SECRET not in str(caught.value)
    secret.unlink()
    with pytest.raises(SpecError, match="cannot be read"):
        read_settings(file)


def test_addresses() -> None:
    """If not: an IPv6 address cannot be given, or a port is guessed."""
    assert split_address("[::1]:8883", None) == ("::1", 8883)
    assert split_address("[::1]", 8883) == ("::1", 8883)
    assert split_address("host", 8883) == ("host", 8883)
    for text in ("", ":1", "host", "host:", "host:x"):
        with pytest.raises(SpecError):
            split_address(text, None)
    assert is_loopback("127.3.2.1") and is_loopback("::1") and is_loopback("localhost")
    assert not is_loopback("192.168.0.1") and not is_loopback("localhost.evil.example")


def test_only_published_bandwidths_judge() -> None:
    """If not: results are refused by a guess, such as that of "any x86 machine"."""
    found = published_bandwidths(TARGETS)
    assert found["raspberry-pi-4"] == 5_560_000_000
    assert "x86_64-linux" not in found and "android-arm64" not in found
    assert published_bandwidths(None) == {}
