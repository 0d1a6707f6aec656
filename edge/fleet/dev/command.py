"""`edge fleet`: the PKI, enrolment and revocation, the broker's configuration, and a whole fleet to try out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from edge.fleet.dev.enrol import Offer
    from edge.fleet.pki.authority import Pki
    from edge.fleet.store.store import Store

PATH = click.Path(path_type=Path)
FOLDER = Path("fleet")
PORT = 8883

_folder = click.option(
    "--folder", type=PATH, default=FOLDER, show_default=True, help="The fleet's: pki/, fleet.db, broker/."
)
_database = click.option(
    "--database", metavar="URL", help="sqlite:///FILE or postgresql://... (default FOLDER/fleet.db)."
)


def _pki(folder: Path) -> Pki:
    from edge.fleet.pki.authority import Pki

    return Pki.open(folder / "pki")


def _store(folder: Path, url: str | None) -> Store:
    from edge.fleet.dev.registry import database_url
    from edge.fleet.store.store import open_store

    return open_store(url or database_url(folder))


@click.group()
def fleet() -> None:
    """Devices in the field: their certificates, their broker, and a fleet on this machine to try out."""


@fleet.command()
@_folder
@click.option("--devices", type=click.IntRange(0, 100), default=2, show_default=True, help="Enrolled and ready to run.")
@click.option("--port", type=click.IntRange(1, 65535), help="Of the broker (default: a free one, then the same again).")
@click.option("--page", metavar="HOST:PORT", help="Of the page (default: loopback, a free port).")
@click.option("--profile", default="trial", show_default=True, help="What the devices say they run.")
@click.option("--repository", type=PATH, help="A published repository of `edge repo`, for the devices' updates.")
def dev(folder: Path, devices: int, port: int | None, page: str | None, profile: str, repository: Path | None) -> None:
    """Start broker, collector and page on loopback with enrolled devices; Ctrl-C ends all of it.

    The devices trust the builders whom this machine trusts (`edge keys list`).
    """
    from edge.bundle.keys import KeyStore
    from edge.fleet.dev.trial import run_trial

    builders = tuple(key for key in KeyStore().trust_store().keys if key.role == "builder")
    run_trial(
        folder, devices, port=port, page=page, profile=_slug(profile) or "", repository=repository, builders=builders,
        say=click.echo,
    )  # fmt: skip


@fleet.group()
def pki() -> None:
    """The fleet's certificates."""


@pki.command("init")
@_folder
@click.option("--host", "hosts", multiple=True, help="Name or address of the broker; more than once for more.")
def pki_init(folder: Path, hosts: tuple[str, ...]) -> None:
    """Make root, broker, page, collector and operator certificates in FOLDER/pki; never over another."""
    from edge.fleet.pki.authority import Pki
    from edge.fleet.pki.enrolment import ca_fingerprint

    made = Pki.create(folder / "pki", hosts=hosts) if hosts else Pki.create(folder / "pki")
    click.echo(f"{made.folder}  root {ca_fingerprint(made.root)}  broker {', '.join(made.hosts)}")
    click.echo(f"keep {made.folder / 'root.key'} off the broker, and a copy of the folder in a safe place", err=True)


@pki.command("show")
@_folder
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def pki_show(folder: Path, as_json: bool) -> None:
    """Certificates, their ends, and which are due for renewal or revoked."""
    from edge.fleet.pki.enrolment import ca_fingerprint

    opened = _pki(folder)
    now, due = opened.now(), {item.serial for item in opened.due()}
    rows: list[dict[str, str | int]] = [
        {
            "name": item.name, "kind": item.kind, "serial": item.serial, "ends": f"{item.not_after:%Y-%m-%d}",
            "days_left": item.days_left(now), "state": _state(item.revoked, item.serial in due, item.days_left(now)),
        }
        for item in opened.issued()
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"root": ca_fingerprint(opened.root), "hosts": opened.hosts, "certificates": rows}))
        return
    click.echo(f"root {ca_fingerprint(opened.root)}  ends {opened.root.not_valid_after_utc:%Y-%m-%d}")
    for row in rows:
        click.echo(f"{row['name']:24} {row['kind']:9} {row['ends']}  {str(row['serial'])[:16]}  {row['state']}")


def _state(revoked: bool, due: bool, days_left: int) -> str:
    if revoked:
        return "revoked"
    if days_left < 0:
        return "ended"
    return "renew" if due else "good"


@pki.command("renew")
@_folder
@click.option("--host", "hosts", multiple=True, help="A further name or address of broker and page.")
@click.argument("names", nargs=-1)
def pki_renew(folder: Path, hosts: tuple[str, ...], names: tuple[str, ...]) -> None:
    """New certificates for NAMES of the fleet's own parts (default: all that are due), and a fresh revocation list."""
    opened = _pki(folder)
    if hosts:
        opened.add_hosts(hosts)
        names = names or ("broker", "page")
    due = opened.due()
    for name in names or tuple(item.name for item in due if item.kind != "device"):
        click.echo(str(opened.renew(name)))
    opened.resign_revocations()
    for item in due:
        if item.kind == "device":
            click.echo(
                f"{item.name} ends {item.not_after:%Y-%m-%d}: its new request, then `edge fleet enrol`", err=True
            )


@pki.command("issue")
@_folder
@click.argument("name")
def pki_issue(folder: Path, name: str) -> None:
    """A certificate for a further collector or operator: collector-1, operator-3."""
    opened = _pki(folder)
    made = opened.issue_operator(name) if name.startswith("operator") else opened.issue_collector(name)
    click.echo(f"{made.certificate}  {made.key}")


@pki.command("browser")
@_folder
@click.argument("name")
@click.option("--output", "-o", type=PATH, help="Default: NAME.p12 here.")
@click.password_option(help="Seals the file; asked for when not given.")
def pki_browser(folder: Path, name: str, output: Path | None, password: str) -> None:
    """NAME's certificate and key (an operator's) as a .p12 that a browser imports, to read a page with TLS."""
    from edge.fleet.pki.certificates import kind_of
    from edge.fleet.pki.files import write_private

    if kind_of(name) != "operator" or not password:
        raise click.UsageError("only an operator's, and with a password")
    path = output or Path(f"{name}.p12")
    write_private(path, _pki(folder).for_browser(name, password.encode()))
    click.echo(str(path))


@fleet.command()
@click.argument("request_file", type=PATH, metavar="REQUEST")
@_folder
@_database
@click.option("--ring", help="Of the rollouts.")
@click.option("--profile", help="What the device shall run.")
@click.option("--target", help="What kind of device it is.")
@click.option("--broker", metavar="HOST[:PORT]", help="Where the device finds the broker (default: the PKI's first).")
@click.option("--updates", multiple=True, metavar="URL", help="https place of the update repository.")
@click.option("--builder", "builders", multiple=True, type=PATH, help="Public key whose bundles the device may run.")
@click.option("--tuf-root", type=PATH, help="root.json of the update repository.")
@click.option("--replace", is_flag=True, help="Shut out who has that name now, and let this device take it.")
@click.option("--output", "-o", type=PATH, default=Path(), help="Folder for DEVICE.enrolment.json (default: here).")
def enrol(
    request_file: Path, folder: Path, database: str | None, ring: str | None, profile: str | None, target: str | None,
    broker: str | None, updates: tuple[str, ...], builders: tuple[Path, ...], tuf_root: Path | None, replace: bool,
    output: Path,
) -> None:  # fmt: skip
    """Take in the device of REQUEST: issue its certificate, enter it, write what it must bring back."""
    from edge.fleet.dev.enrol import enrol_device, read_request_file, write_enrolment
    from edge.fleet.dev.registry import Placing

    opened = _pki(folder)
    request = read_request_file(request_file)
    offer = _offer(opened, broker, updates, builders, tuf_root)
    placing = Placing(ring=_slug(ring), profile=_slug(profile), target=_slug(target))
    store = _store(folder, database)
    try:
        enrolment, renewal = enrol_device(opened, store, request, offer, placing, replace=replace)
    finally:
        store.close()
    path = write_enrolment(opened, enrolment, output)
    word = "renewed" if renewal else "enrolled"
    click.echo(f"{word}: {request.device}  key {request.fingerprint}  until {enrolment.not_after:%Y-%m-%d}  {path}")
    click.echo(f"bring it to the device, which must show root {enrolment.ca_fingerprint}", err=True)
    if replace and not renewal:
        click.echo(TELL_BROKER, err=True)


TELL_BROKER = (
    "tell the broker: `edge fleet broker-config` again, and reload it; a collector whose page has TLS needs the new "
    "crl.pem too (`edge fleet dev` sees it by itself)"
)


def _slug(value: str | None) -> str | None:
    from edge.bundle.canonical import SLUG

    if value is not None and not SLUG.fullmatch(value):
        raise click.UsageError(f"{value[:60]!r} is not lower case letters, digits, '.', '_', '-'")
    return value


def host_and_port(text: str, port: int) -> tuple[str, int]:
    """HOST, HOST:PORT, or [HOST]:PORT of an IPv6 address."""
    host, separator, given = text.rpartition(":")
    if not separator or (":" in host and not host.startswith("[")):
        return text.strip("[]"), port
    if not given.isascii() or not given.isdigit() or not 0 < int(given) < 65536:
        raise click.UsageError(f"{text[:60]!r} is not HOST:PORT")
    return host.strip("[]"), int(given)


def _offer(
    opened: Pki, broker: str | None, updates: tuple[str, ...], builders: tuple[Path, ...], tuf_root: Path | None
) -> Offer:
    from edge.fleet.dev.enrol import Offer, builder_keys
    from edge.fleet.pki.files import read_file

    host, port = host_and_port(broker, PORT) if broker else (opened.hosts[0], PORT)
    root = None if tuf_root is None else read_file(tuf_root, "make it with `edge repo init`")
    return Offer(host, port, updates, builder_keys(builders), root)


@fleet.command()
@click.argument("device")
@_folder
@_database
def revoke(device: str, folder: Path, database: str | None) -> None:
    """Shut DEVICE out for good: revocation list, ACL and database."""
    from edge.fleet.dev.enrol import revoke_device

    opened = _pki(folder)
    serials = opened.revoke(device)  # before the database is asked for anything: it may be down
    click.echo(f"revoked: {device}  {len(serials)} certificate{'' if len(serials) == 1 else 's'}")
    click.echo(TELL_BROKER, err=True)
    store = _store(folder, database)
    try:
        revoke_device(opened, store, device)
    finally:
        store.close()


@fleet.command()
@_folder
@_database
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def devices(folder: Path, database: str | None, as_json: bool) -> None:
    """Enrolled devices."""
    from edge.fleet.dev.registry import registered

    store = _store(folder, database)
    try:
        found = registered(store)
    finally:
        store.close()
    if as_json:
        click.echo(json.dumps([vars(item) for item in found], indent=1))
        return
    for item in found:
        state = f"revoked {item.revoked_at[:10]}" if item.revoked_at else f"seen {item.last_seen_at or 'never'}"
        click.echo(
            f"{item.device:24} ring {item.ring or '-':12} {item.profile or '-':24} {item.key_fingerprint}  {state}"
        )


@fleet.command("broker-config")
@_folder
@click.option("--output", "-o", type=PATH, help="Write all that the broker needs into this folder; else print.")
@click.option("--listen", metavar="HOST", help="Address to listen on (default: all).")
@click.option("--port", type=click.IntRange(1, 65535), default=PORT, show_default=True)
def broker_config(folder: Path, output: Path | None, listen: str | None, port: int) -> None:
    """The broker's configuration for production, and how to install it on Debian."""
    from edge.fleet.broker.production import hints, production_text, write_production

    if output is None:
        click.echo(production_text(host=listen, port=port), nl=False)
        return
    for path in write_production(_pki(folder), output, host=listen, port=port):
        click.echo(str(path))
    click.echo(hints(output), err=True)


@fleet.command()
@click.argument("broker", metavar="HOST[:PORT]", required=False)
@_folder
def check(broker: str | None, folder: Path) -> None:
    """Look at a running broker from outside: whom it lets in, what it allows, whether it keeps what it was told."""
    import sys

    from edge.errors import ExitStatus
    from edge.fleet.broker.check import check_broker

    opened = _pki(folder)
    host, port = host_and_port(broker, PORT) if broker else (opened.hosts[0], PORT)
    findings = check_broker(opened, host, port, folder / "broker-marker.json")
    for finding in findings:
        click.echo(f"{finding.verdict:8} {finding.text}")
    if any(finding.verdict == "bad" for finding in findings):
        sys.exit(ExitStatus.GATE)
