"""What a collector is told: `collector.yaml`, or options of the command.

version: 1
name: collector                  # of its certificate; several: collector-1, collector-2
broker: mqtt.clinic.example:8883
credentials: /etc/edge/fleet     # ca.pem (or root.pem), NAME.pem, NAME.key, here or in parts/
database: postgresql://edge@db.clinic.example/fleet    # or the path of a file
database_password_file: /etc/edge/fleet/database.password
page: 127.0.0.1:8080             # elsewhere than loopback only with page_certificate and page_key
page_certificate: /etc/edge/fleet/page.pem
page_key: /etc/edge/fleet/page.key
page_crl: /etc/edge/fleet/crl.pem  # who is revoked; left out: crl.pem in the folder of credentials
repository: /srv/edge/repository # served below /repo/
targets: /etc/edge/targets       # published memory bandwidths, for the plausibility rule
device_burst: 2000               # messages that a device may send at once
device_per_hour: 720             # and for long
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from edge.errors import SpecError
from edge.fleet.collector.budget import BURST, PER_S
from edge.fleet.wire.connection import Credentials
from edge.specs.target import load_target, target_names
from edge.specs.yaml_source import Spec, validate_with_positions

MQTT_PORT = 8883
PASSWORD_BYTES = 4096


class CollectorFile(Spec):
    """The YAML above."""

    version: Literal[1] = 1
    name: str = Field(default="collector", pattern=r"^collector(-[1-9][0-9]?)?$")
    broker: str | None = None
    credentials: str | None = None
    database: str | None = None
    database_password_file: str | None = None
    page: str | None = None
    page_certificate: str | None = None
    page_key: str | None = None
    page_crl: str | None = None
    repository: str | None = None
    targets: str | None = None
    device_burst: float = Field(default=BURST, ge=10)
    device_per_hour: float = Field(default=PER_S * 3600, gt=0)


@dataclass(frozen=True)
class Settings:
    """Checked and complete. page_tls: certificate and key of the page's server; readers then show one too,
    and page_crl is the list of those that are revoked.
    """

    name: str
    host: str
    port: int
    credentials: Credentials
    database: str
    page: tuple[str, int] | None = None
    page_tls: tuple[Path, Path] | None = None
    page_crl: Path | None = None
    repository: Path | None = None
    targets: Path | None = None
    device_burst: float = BURST
    device_per_s: float = PER_S


def read_settings(file: Path | None, **options: str | None) -> Settings:
    """From a file and options; an option counts more. Errors: SpecError."""
    found = validate_with_positions(CollectorFile, file)[0] if file is not None else CollectorFile()
    where = str(file) if file is not None else ""
    values = found.model_dump() | {name: value for name, value in options.items() if value is not None}

    def needed(name: str) -> str:
        if not values[name]:
            raise SpecError(f"'{name}' is not given", where=where, mend=f"add it to the file, or --{name}")
        return str(values[name])

    host, port = split_address(needed("broker"), MQTT_PORT)
    page = split_address(values["page"], None) if values["page"] else None
    tls = (Path(values["page_certificate"]), Path(values["page_key"])) if values["page_certificate"] else None
    if (values["page_certificate"] is None) != (values["page_key"] is None):
        raise SpecError("page_certificate and page_key go together", where=where, mend="give both")
    if page is not None and tls is None and not is_loopback(page[0]):
        raise SpecError(
            f"the page would be open to all who reach {page[0]}", where=where,
            mend="serve it on 127.0.0.1, or give page_certificate and page_key: readers then need a certificate",
        )  # fmt: skip
    return Settings(
        name=values["name"],
        host=host,
        port=port,
        credentials=credentials_in(Path(needed("credentials")), values["name"]),
        database=_with_password(needed("database"), values["database_password_file"]),
        page=page,
        page_tls=tls,
        page_crl=None if tls is None else Path(values["page_crl"] or Path(needed("credentials")) / "crl.pem"),
        repository=Path(values["repository"]) if values["repository"] else None,
        targets=Path(values["targets"]) if values["targets"] else None,
        device_burst=values["device_burst"],
        device_per_s=values["device_per_hour"] / 3600,
    )


def read_database(file: Path | None, database: str | None) -> str:
    """The database's URL alone, for commands that need no broker. Errors: SpecError."""
    found = validate_with_positions(CollectorFile, file)[0] if file is not None else CollectorFile()
    url = database or found.database
    if not url:
        raise SpecError("'database' is not given", where=str(file or ""), mend="add it to the file, or --database")
    return _with_password(url, found.database_password_file)


def credentials_in(folder: Path, name: str) -> Credentials:
    """The files of `name` in a folder, or in a PKI's. Errors: SpecError when one is not there."""

    def one(*names: str) -> Path:
        for candidate in names:
            if (folder / candidate).is_file():
                return folder / candidate
        raise SpecError(f"there is no {names[0]}", where=str(folder), mend="copy it from the PKI, see `edge fleet pki`")

    return Credentials(
        one("ca.pem", "root.pem"), one(f"{name}.pem", f"parts/{name}.pem"), one(f"{name}.key", f"parts/{name}.key")
    )


def split_address(text: str, default_port: int | None) -> tuple[str, int]:
    """HOST:PORT, an IPv6 address in brackets. Errors: SpecError."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(default_port or "")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise SpecError(f"{text[:60]!r} is not HOST:PORT", mend="for example 127.0.0.1:8883")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def published_bandwidths(folder: Path | None) -> dict[str, float]:
    """Target -> bytes a second, of the targets whose figure somebody published: an estimate judges nobody.

    Errors: SpecError for a broken target.
    """
    if folder is None:
        return {}
    found = {}
    for name in target_names(folder):
        target = load_target(name, folder=folder)
        claims = [one.citation for one in target.sources if "memory_bandwidth_bytes_per_s" in one.claim]
        if claims and not any(citation.startswith("estimate") for citation in claims):
            found[name] = target.memory_bandwidth_bytes_per_s
    return found


def _with_password(url: str, file: str | None) -> str:
    """The URL with the password of a file, which may be nobody else's to read. Errors: SpecError without it."""
    if file is None:
        return url
    path = Path(file)
    try:
        mode = path.stat().st_mode
        password = path.read_text(encoding="utf-8").strip()[:PASSWORD_BYTES]
    except (OSError, UnicodeDecodeError):
        raise SpecError("the password cannot be read", where=file, mend="let this user read it") from None
    if mode & 0o077:
        raise SpecError("others can read this password", where=file, mend=f"run `chmod 600 {file}`")
    try:
        return make_url(url).set(password=password).render_as_string(hide_password=False)
    except ArgumentError:
        raise SpecError("the database's URL cannot be read", mend="give postgresql://USER@HOST/NAME") from None
