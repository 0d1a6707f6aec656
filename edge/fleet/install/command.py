"""`edge install`: a bundle into this device's slots, without a fleet; and what a boot or a person does about it.

edge install BUNDLE_OR_TAR      fill, verify, switch, self-test, commit or roll back
edge install status             what the slots hold
edge install resume             go on after a power cut (the package does it at boot)
edge install rollback           back to the build before
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edge.bundle.canonical import SLUG
from edge.bundle.install.checks import profile_of
from edge.bundle.install.disk import CURRENT
from edge.bundle.install.in_force import default_slots
from edge.bundle.install.installer import Installer, InstallOutcome
from edge.bundle.install.source import open_source
from edge.bundle.keys import KeyStore
from edge.bundle.manifest import Manifest
from edge.bundle.open import check_head
from edge.bundle.update_lock import lock_folder, visit_open
from edge.errors import InputError

BUNDLE_COMMAND = "bundle"


class BundleFirst(click.Group):
    """A group whose first word is a command of its own, or else the bundle to install."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`edge install NOTES.tar` is `edge install bundle NOTES.tar`."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [BUNDLE_COMMAND, *args]
        return super().parse_args(ctx, args)


def installer_for(slots: Path, profile: str, workload: str = "") -> Installer:
    """The installer of this device. Errors: those of the key store."""
    from edge.device.facts import local_facts
    from edge.fleet.install.self_test import ChildSelfTest

    lock = lock_folder()
    return Installer(
        slots,
        profile,
        trust=KeyStore().trust_store(),
        lock_folder=lock,
        self_test=ChildSelfTest(lambda: visit_open(lock), workload=workload),
        device=local_facts(),
    )


def profiles_in(slots: Path) -> Iterator[str]:
    """The profiles that have slots, by name."""
    if slots.is_dir():
        for path in sorted(slots.iterdir()):
            if path.is_dir() and SLUG.fullmatch(path.name):
                yield path.name


def tell(installer: Installer, outcome: InstallOutcome) -> int:
    """Say how it ended; returns the exit code."""
    line = f"{installer.profile}: {outcome.outcome}"
    if outcome.outcome in ("committed", "rolled_back") and outcome.slot:
        shown = installer.status().bundle_digest or ""
        line += f", bundle {shown[:16]} is in force in slot {outcome.slot}"
    if outcome.moved_bytes or outcome.kept_bytes:
        line += f" ({outcome.moved_bytes / 1e6:.1f} MB moved, {outcome.kept_bytes / 1e6:.1f} MB kept)"
    click.echo(line)
    error = installer.last_error
    if error is None:
        return 0
    click.echo(f"edge: {error}", err=True)
    return int(error.status)


def slots_option(command: Any) -> Any:
    """--slots, which every command takes."""
    return click.option(
        "--slots", type=click.Path(path_type=Path), help="The slots' folder (default EDGE_SLOTS, or below EDGE_HOME)."
    )(command)


def workload_option(command: Any) -> Any:
    """--workload of the self-test."""
    return click.option(
        "--workload", default="", help="Of the self-test: a name or a YAML file (default the smallest)."
    )(command)


@click.group(cls=BundleFirst)
def install() -> None:
    """Install a BUNDLE (a folder or a .tar) on this device, with a way back: `edge install BUNDLE`."""


@install.command(BUNDLE_COMMAND)
@click.argument("bundle", type=click.Path(path_type=Path))
@slots_option
@workload_option
@click.option("--release", help="A name for it, shown by status.")
def install_bundle(bundle: Path, slots: Path | None, workload: str, release: str | None) -> None:
    """Fill, verify, switch, self-test, commit or roll back. `edge install BUNDLE` is the same."""
    if release is not None and not SLUG.fullmatch(release):
        raise InputError("not a release's name", mend="use lower case letters, digits, '.', '_', '-'")
    source = open_source(bundle)
    manifest_bytes, signature = source.head()
    # Before anything is made: a folder may only be named by somebody who is trusted.
    manifest: Manifest = check_head(
        manifest_bytes, signature, KeyStore().trust_store(), device=None, where=str(bundle)
    )[0]
    profile = profile_of(manifest)
    installer = installer_for(slots or default_slots(), profile, workload)
    status = tell(installer, installer.install(source, release=release))
    if not status:
        click.echo(f"open it with `edge app {installer.disk.base / CURRENT}`", err=True)
    sys.exit(status)


@install.command()
@slots_option
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(slots: Path | None, as_json: bool) -> None:
    """What the slots hold, for each profile."""
    place = slots or default_slots()
    found = [installer_for(place, profile).status() for profile in profiles_in(place)]
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], indent=1))
        return
    if not found:
        click.echo(f"no build is installed in {place}")
    for one in found:
        what = f"slot {one.slot}, bundle {one.bundle_digest[:16]}" if one.slot and one.bundle_digest else "no build"
        words = [f"{one.profile}: {what}"]
        if one.release:
            words.append(f"release {one.release}")
        if one.phase != "idle":
            words.append(one.phase + (f" (bundle {one.pending_digest[:16]})" if one.pending_digest else ""))
        if one.previous_digest:
            words.append(f"before it {one.previous_digest[:16]}")
        click.echo(", ".join(words))


@install.command()
@slots_option
@workload_option
def resume(slots: Path | None, workload: str) -> None:
    """Go on with what a power cut or an open visit stopped, for each profile. Nothing to do is no error."""
    place, last = slots or default_slots(), 0
    for profile in profiles_in(place):
        installer = installer_for(place, profile, workload)
        outcome = installer.resume()
        if outcome is not None:
            last = tell(installer, outcome) or last
    sys.exit(last)


@install.command()
@slots_option
@click.option("--profile", help="Which one, where there are several.")
def rollback(slots: Path | None, profile: str | None) -> None:
    """Back to the build before."""
    place = slots or default_slots()
    known = list(profiles_in(place))
    chosen = [name for name in known if profile in (None, name)]
    if len(chosen) != 1:
        raise InputError(
            "which profile?" if chosen else "there is no such profile",
            where=str(place),
            mend=f"name one with --profile: {', '.join(known)}" if known else "install a bundle first",
        )
    installer = installer_for(place, chosen[0])
    sys.exit(tell(installer, installer.rollback()))
