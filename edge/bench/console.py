"""`edge bench` and `edge verify` as a person sees them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import click

from edge.bench.gates import passed
from edge.bench.on_android import verify_on_android
from edge.bench.remote import EMULATED_WORKLOAD, Proven, runner_cache, verify_emulated, verify_on_board
from edge.bench.report import write_report
from edge.bench.runner import Progress, run_bench
from edge.bench.terminal import bench_progress, print_result
from edge.bench.verify import Verification, verify
from edge.bench.workload import Workload, load_workload
from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle, open_bundle
from edge.bundle.signing import grouped
from edge.device.facts import local_facts
from edge.device.reach.adb import AdbDevice
from edge.device.reach.base import Address, parse_address
from edge.device.reach.emulated import EmulatedDevice
from edge.device.reach.opening import Ways, open_device
from edge.errors import ResourceError
from edge.files import write_atomic

DEFAULT_WORKLOAD = "quick"


@dataclass(frozen=True)
class Where:
    """The device of a command. address: as --device takes it; the rest as its options."""

    address: str = "local"
    folder: str = ""
    accept_new_host_key: bool = False
    trust_builder: bool = False


def tell(line: str) -> None:
    """One line for the person, beside the result."""
    click.echo(line, err=True)


def bench_command(
    bundle: Path,
    workload: str | None,
    json_path: Path | None,
    html_path: Path | None,
    threads: int | None,
    *,
    judge: bool,
    where: Where | None = None,
) -> bool:
    """Measure, print, write what was asked for; judge: sign the verdict too. Returns whether it passed.

    workload: None is the default of the device. where: of a judged run.
    """
    store, place = KeyStore(), where or Where()
    address = parse_address(place.address)
    opened = open_bundle(bundle, store.trust_store(), device=local_facts() if address.kind == "local" else None)
    emulated = address.kind == "emulated"
    chosen = EMULATED_WORKLOAD if emulated and workload is None else load_workload(workload or DEFAULT_WORKLOAD)
    for path in filter(None, (json_path, html_path)):
        if not path.parent.is_dir():  # said now, not after minutes of measuring
            raise ResourceError("its folder is not there", where=str(path), mend="make the folder first")
    attestation = None
    with bench_progress() as progress:
        if judge:
            verified = _verify(opened, store, address, place, chosen, threads, progress)
            result, checks, attestation = verified.result, verified.checks, verified.attestation
        else:
            result, checks = run_bench(opened.path, opened.manifest, chosen, progress=progress, threads=threads), ()
    print_result(result, checks, sys.stdout)
    if judge and attestation is not None:
        if not attestation.clock_trusted:
            tell(f"clock: {attestation.clock_reason}; the attestation says so")
        click.echo(f"signed into {bundle} as an attestation for {attestation.device_class}")
    if json_path:
        write_atomic(json_path, result.to_bytes())
    if html_path:
        budgets = opened.manifest.profile.get("budgets") or {}
        write_report(html_path, result, checks, budgets=budgets, attestation=attestation)
        click.echo(f"report: {html_path}")
    return passed(tuple(checks)) if judge else True


def _verify(
    opened: OpenBundle,
    store: KeyStore,
    address: Address,
    where: Where,
    workload: Workload,
    threads: int | None,
    progress: Progress,
) -> Verification:
    """Prove the bundle where it shall be proven."""
    if address.kind == "local":
        key = own_key(store, None, "device", tell)
        return verify(opened, key=key, workload=workload, progress=progress, threads=threads)
    engine = str(opened.manifest.runtime.get("engine", "onnxruntime"))
    ways = Ways(folder=where.folder, accept_new_host_key=where.accept_new_host_key, engines=(engine,))
    with open_device(address, ways, say=tell) as device:
        if isinstance(device, EmulatedDevice):
            tell(f"device: {device.describe()}")
            key = own_key(store, None, "device", tell)
            return verify_emulated(opened, device, key=key, workload=workload, threads=threads, progress=progress)
        if isinstance(device, AdbDevice):
            proven = verify_on_android(
                opened,
                device,
                store=store,
                workload=workload,
                threads=threads,
                trust_builder=where.trust_builder,
                progress=progress,
                say=tell,
            )
        else:
            proven = verify_on_board(
                opened,
                device,
                str(address),
                store=store,
                workload=workload,
                threads=threads,
                trust_builder=where.trust_builder,
                cache=runner_cache(),
                progress=progress,
                say=tell,
            )
    return _told(proven)


def _told(proven: Proven) -> Verification:
    """Say by which key it was signed, and whether it was the first time."""
    key = proven.pinned.key
    first = "first contact: from now on only this key is accepted from there" if proven.pinned.new else "as before"
    tell(f"signed by the device's key '{key.name}' {grouped(key.fingerprint)} ({first})")
    return proven.verification
