"""`edge repo`: the engineer's side of updates, and a check of sticks and servers. No logic lives here."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edge.errors import ExitStatus, SpecError

if TYPE_CHECKING:
    from tuf.api.metadata import Metadata

    from edge.fleet.updates.metadata import Signatures

PATH = click.Path(path_type=Path)
ROLES = ("root", "targets", "snapshot", "timestamp")
PASSPHRASE_VARIABLE = "EDGE_REPO_PASSPHRASE"  # noqa: S105  the name of a variable, no secret


def say(text: str) -> None:
    """One line for the person, on stderr: stdout is for results."""
    click.echo(text, err=True)


def ask_passphrase(path: Path) -> bytes:
    """The passphrase of a key file: from the environment, or typed."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None:
        given = click.prompt(f"passphrase of {path.name}", hide_input=True, err=True, type=str)
    return str(given).encode()


def new_passphrase() -> bytes:
    """A passphrase for keys that are made now."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None:
        given = click.prompt(
            "passphrase for the new keys", hide_input=True, confirmation_prompt=True, err=True, type=str
        )
    if len(str(given)) < 8:
        raise SpecError("the passphrase has less than 8 characters", mend="choose a longer one")
    return str(given).encode()


def keys_beside(repository: Path, keys: Path | None) -> Path:
    """The key folder: the one given, or NAME-keys beside the repository."""
    place = Path(os.path.abspath(repository))  # noqa: PTH100  resolve() would follow a link
    return keys if keys is not None else place.with_name(f"{place.name}-keys")


def places_of(repository: Path, keys: Path | None, key: tuple[Path, ...]) -> list[Path]:
    """Where to look for private keys: the files that were named, else the key folder."""
    return list(key) if key else [keys_beside(repository, keys)]


KEYS = click.option("--keys", type=PATH, help="Folder of the private keys (default: REPO-keys beside REPO).")
KEY = click.option("--key", type=PATH, multiple=True, help="A private key file instead; may be given several times.")
ENCRYPT = click.option(
    "--encrypt", is_flag=True, help=f"Encrypt new private keys; asks for a passphrase or reads {PASSPHRASE_VARIABLE}."
)


@click.group()
def repo() -> None:
    """The update repository: releases for devices, signed by TUF roles."""


@repo.command()
@click.argument("repository", type=PATH)
@KEYS
@ENCRYPT
@click.option("--root-keys", type=int, default=3, show_default=True, help="How many root keys to make.")
@click.option("--root-threshold", type=int, default=2, show_default=True, help="How many of them must sign.")
@click.option("--root-days", type=int, default=1825, show_default=True, help="Root metadata is good for so long.")
@click.option("--targets-days", type=int, default=730, show_default=True, help="The list of releases.")
@click.option("--snapshot-days", type=int, default=365, show_default=True, help="The snapshot.")
@click.option(
    "--timestamp-days",
    type=int,
    default=180,
    show_default=True,
    help="The timestamp: a stick or mirror older than that is refused, so it is the longest time without a new one.",
)
def init(
    repository: Path,
    keys: Path | None,
    encrypt: bool,
    root_keys: int,
    root_threshold: int,
    root_days: int,
    targets_days: int,
    snapshot_days: int,
    timestamp_days: int,
) -> None:
    """Make a new REPOSITORY and its keys, and publish it without a release."""
    from edge.fleet.updates.layout import Settings
    from edge.fleet.updates.publishing import publish as publish_all
    from edge.fleet.updates.repository import create

    folder = keys_beside(repository, keys)
    settings = Settings(
        {"root": root_days, "targets": targets_days, "snapshot": snapshot_days, "timestamp": timestamp_days}
    )
    passphrase = new_passphrase() if encrypt else None
    made = create(
        repository,
        folder,
        settings=settings,
        root_keys=root_keys,
        root_threshold=root_threshold,
        passphrase=passphrase,
    )
    publish_all(made, [folder], lambda _: passphrase or b"")
    click.echo(made.layout.metadata / "1.root.json")
    say(f"keys are in {folder}: move each root-N.pem to a stick of its own, and copies to a safe")
    say("devices trust the root file above: ship it to each with `edge repo trust`")
    say(f"what is published now is good for {timestamp_days} days; `edge repo publish` renews it")


@repo.command()
@click.argument("repository", type=PATH)
@click.argument("bundle", type=PATH)
@click.option("--release", required=True, help="The release's name; it means this bundle for ever.")
def add(repository: Path, bundle: Path, release: str) -> None:
    """Check BUNDLE, cut it into chunks and list it as a release, to be signed and published."""
    from edge.bundle.keys import KeyStore
    from edge.fleet.updates.repository import Repository

    chunks = Repository(repository).add(bundle, release, KeyStore().trust_store())
    count = sum(1 for _ in chunks.spans())
    click.echo(
        f"{release}  bundle {chunks.release.bundle_digest[:16]}  {chunks.release.size_bytes / 1e6:.1f} MB  "
        f"{count} chunks"
    )
    say("next: `edge repo sign REPOSITORY targets`, then `edge repo publish REPOSITORY`")


@repo.command()
@click.argument("repository", type=PATH)
@click.argument("release")
def withdraw(repository: Path, release: str) -> None:
    """List RELEASE no longer. Devices that have it keep it."""
    from edge.fleet.updates.repository import Repository

    Repository(repository).withdraw(release)
    say("next: `edge repo sign REPOSITORY targets`, then `edge repo publish REPOSITORY`")


@repo.command()
@click.argument("place", type=PATH)
@click.argument("role", type=click.Choice(("root", "targets")), required=False)
@KEYS
@KEY
@click.option("--from", "other", type=PATH, help="Take signatures over from this copy, signed on another machine.")
@click.option("--against", type=PATH, help="Of a file: show what changes against this file, which you trust.")
@click.option("--yes", is_flag=True, help="Of a file: sign what is shown without asking, for scripts.")
def sign(
    place: Path,
    role: str | None,
    keys: Path | None,
    key: tuple[Path, ...],
    other: Path | None,
    against: Path | None,
    yes: bool,
) -> None:
    """Sign what is staged of ROLE in the repository PLACE, or PLACE itself where it is one metadata file.

    Shows what it signs and how that differs from what is published. A file comes from elsewhere: there it asks first.
    Where nothing is staged, the role is renewed: the next version with a later expiry.
    """
    from edge.fleet.updates.repository import Repository, sign_file
    from edge.fleet.updates.showing import lines_to_sign

    if place.is_file():
        if not (key or keys):
            raise click.UsageError("name the private key with --key")
        agree = asking(place, against, yes=yes)
        metadata = sign_file(place, list(key) or [keys or Path()], ask_passphrase, agree)
        click.echo(f"{metadata.signed.type} version {metadata.signed.version}: {len(metadata.signatures)} signatures")
        return
    if role is None:
        raise click.UsageError("say which role: root or targets")
    repository = Repository(place)
    if other is not None:
        state = repository.merge(role, other)
    else:

        def show(new: Metadata[Any], published: Metadata[Any] | None) -> None:
            say("\n".join(lines_to_sign(new, published, str(place), "published")))

        state = repository.sign(role, places_of(place, keys, key), ask_passphrase, show=show)
    click.echo(signature_line(state))


@repo.command()
@click.argument("repository", type=PATH)
@KEYS
@KEY
@click.option("--renew", is_flag=True, help="Leave what is staged; only make snapshot and timestamp younger.")
def publish(repository: Path, keys: Path | None, key: tuple[Path, ...], renew: bool) -> None:
    """Check what is staged as a device would, and switch it in. Where nothing is staged, the timestamp is renewed."""
    from edge.fleet.updates.publishing import publish as publish_all
    from edge.fleet.updates.repository import Repository

    done = publish_all(Repository(repository), places_of(repository, keys, key), ask_passphrase, renew=renew)
    versions = ", ".join(f"{role} {done.versions[role]}" for role in ROLES)
    click.echo(f"published {versions}; releases: {', '.join(done.releases) or 'none'}")
    say(f"renew it before {done.expires['timestamp']:%Y-%m-%d}: `edge repo publish REPOSITORY`")


@repo.command()
@click.argument("repository", type=PATH)
@click.argument("role", type=click.Choice(ROLES))
@click.option("--replace", help="The key that goes, where the role has several (root-2, say).")
@KEYS
@ENCRYPT
def rotate(repository: Path, role: str, replace: str | None, keys: Path | None, encrypt: bool) -> None:
    """A new key for ROLE, in the next version of the root."""
    from edge.fleet.updates.repository import Repository

    folder = keys_beside(repository, keys)
    new, gone = Repository(repository).rotate(
        role, folder, replace=replace, passphrase=new_passphrase() if encrypt else None
    )
    click.echo(f"{new} takes the place of {gone}")
    say("next: sign root with enough old and new root keys" + (", sign targets" if role == "targets" else ""))


@repo.command()
@click.argument("repository", type=PATH)
def status(repository: Path) -> None:
    """What is published, until when, and what waits for whose signature."""
    from edge.fleet.updates.repository import Repository

    shown = Repository(repository)
    now = datetime.now(UTC)
    for role in ROLES:
        metadata = shown.published(role)
        if metadata is not None:
            left = (metadata.signed.expires - now).days
            click.echo(f"{role:9}  version {metadata.signed.version}  {left} days left")
    for role in ("root", "targets"):
        state = shown.signatures(role)
        if state is not None:
            click.echo(f"staged     {signature_line(state)}")
    listed = shown.releases(shown.published("targets"))
    staged = shown.releases(shown.staged("targets") or shown.published("targets"))
    for name in sorted(listed.keys() | staged.keys()):
        item = staged.get(name) or listed[name]
        word = "published" if name in listed and name in staged else "staged" if name in staged else "to be withdrawn"
        click.echo(
            f"release    {name}  {item.profile}  {item.target}  {item.bundle_digest[:16]}  "
            f"{item.size_bytes / 1e6:.1f} MB  {word}"
        )


@repo.command()
@click.argument("repository", type=PATH)
@click.argument("folder", type=PATH)
@click.option("--release", multiple=True, help="Only the data of this release; may be given several times.")
def copy(repository: Path, folder: Path, release: tuple[str, ...]) -> None:
    """Copy what is published to FOLDER (a stick, a mirror); what is there and right is kept."""
    from edge.fleet.updates.copying import copy_published
    from edge.fleet.updates.repository import Repository

    done = copy_published(Repository(repository), folder, release)
    click.echo(
        f"{folder}: {', '.join(done.releases) or 'no release'}, {done.written_bytes / 1e6:.1f} MB written, "
        f"{done.kept_bytes / 1e6:.1f} MB were there"
    )


@repo.command()
@click.argument("repository", type=PATH)
def prune(repository: Path) -> None:
    """Delete data that no release needs any more."""
    from edge.fleet.updates.publishing import prune as prune_all
    from edge.fleet.updates.repository import Repository

    count, freed = prune_all(Repository(repository))
    click.echo(f"{count} files, {freed / 1e6:.1f} MB")


@repo.command()
@click.argument("root", type=PATH)
@click.option("--home", type=PATH, help="The device's folder for updates (default: updates below the home of edge).")
def trust(root: Path, home: Path | None) -> None:
    """On a device: trust the ROOT file of a repository (metadata/1.root.json). Once; never replaced."""
    from edge.bundle.tree import read_small
    from edge.fleet.updates.client import ship_root
    from edge.fleet.updates.layout import MAX_METADATA_BYTES

    version = ship_root(home or updates_home(), read_small(root, MAX_METADATA_BYTES))
    click.echo(f"trusted: root version {version}")


@repo.command()
@click.argument("place")
@click.option("--root", type=PATH, help="Check against this root file (default: the one that this device trusts).")
@click.option("--home", type=PATH, help="The device's folder for updates.")
@click.option("--quick", is_flag=True, help="Only the metadata, not every chunk.")
@click.option("--ca", type=PATH, help="CA file for https.")
@click.option("--certificate", type=PATH, help="This device's certificate for https.")
@click.option("--tls-key", type=PATH, help="And its key.")
def check(
    place: str,
    root: Path | None,
    home: Path | None,
    quick: bool,
    ca: Path | None,
    certificate: Path | None,
    tls_key: Path | None,
) -> None:
    """Is PLACE (a stick's folder or an https:// address) good for devices? Reads all of it and changes nothing."""
    import tempfile

    from edge.bundle.tree import read_small
    from edge.fleet.updates.client import ROOT_NAME, UpdateClient, ship_root
    from edge.fleet.updates.copying import check_place
    from edge.fleet.updates.layout import MAX_METADATA_BYTES
    from edge.fleet.updates.places import open_place
    from edge.fleet.wire.connection import Credentials

    credentials = None
    if ca or certificate or tls_key:
        if not (ca and certificate and tls_key):
            raise click.UsageError("--ca, --certificate and --tls-key go together")
        credentials = Credentials(ca=ca, certificate=certificate, key=tls_key)
    trusted = root or (home or updates_home()) / ROOT_NAME
    if not trusted.is_file():
        raise SpecError("there is no root to check against", where=str(trusted), mend="give one with --root")
    with tempfile.TemporaryDirectory() as folder:
        ship_root(Path(folder), read_small(trusted, MAX_METADATA_BYTES))
        opened = open_place(place, credentials)
        try:
            releases = check_place(UpdateClient(Path(folder), [opened]), opened, say, data=not quick)
        finally:
            opened.close()
    for item in releases:
        click.echo(f"{item.release}  {item.profile}  {item.target}  {item.bundle_digest[:16]}")


def asking(file: Path, against: Path | None, *, yes: bool) -> Callable[[Metadata[Any]], None]:
    """Shows what would be signed of `file` and asks; ends the command where nobody can be asked, or says no."""
    from edge.bundle.tree import read_small
    from edge.fleet.updates.client import ROOT_NAME
    from edge.fleet.updates.layout import MAX_METADATA_BYTES
    from edge.fleet.updates.metadata import parse
    from edge.fleet.updates.showing import lines_to_sign

    if not yes and not sys.stdin.isatty():
        say(f"{file}: nobody is there to be asked; sign it at a terminal, or with --yes.")
        sys.exit(ExitStatus.USAGE)

    def agree(metadata: Metadata[Any]) -> None:
        known, trusted = against, updates_home() / ROOT_NAME
        if known is None and metadata.signed.type == "root" and trusted.is_file():
            known = trusted
        before = None if known is None else parse(read_small(known, MAX_METADATA_BYTES), "", known)
        say("\n".join(lines_to_sign(metadata, before, str(file), str(known))))
        if not yes and not click.confirm("sign this?", default=False, err=True):
            say("nothing was signed")
            sys.exit(ExitStatus.UNTRUSTED)

    return agree


def updates_home() -> Path:
    """Where this machine keeps its root and metadata."""
    from edge.bundle.keys import default_home

    return default_home() / "updates"


def signature_line(state: Signatures) -> str:
    """Who has signed, in one line."""
    text = f"{state.role} version {state.version}: {len(state.signed)} of {state.needed} signatures"
    if state.signed:
        text += f" ({', '.join(state.signed)})"
    if state.old_needed:
        text += f", {len(state.old_signed)} of {state.old_needed} by the keys before"
    return text + ("" if state.enough else f"; still open: {', '.join(dict.fromkeys((*state.open, *state.old_open)))}")
