"""`edge bench` and `edge verify` as a person sees them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge.bench.gates import passed
from edge.bench.report import write_report
from edge.bench.runner import run_bench
from edge.bench.terminal import bench_progress, print_result
from edge.bench.verify import verify
from edge.bench.workload import load_workload
from edge.bundle.first_key import own_key
from edge.bundle.keys import KeyStore
from edge.bundle.open import open_bundle
from edge.device.facts import local_facts
from edge.errors import ResourceError
from edge.files import write_atomic


def bench_command(
    bundle: Path, workload: str, json_path: Path | None, html_path: Path | None, threads: int | None, *, judge: bool
) -> bool:
    """Measure, print, write what was asked for; judge: sign the verdict too. Returns whether it passed."""
    store = KeyStore()
    opened = open_bundle(bundle, store.trust_store(), device=local_facts())
    chosen = load_workload(workload)
    for path in filter(None, (json_path, html_path)):
        if not path.parent.is_dir():  # said now, not after minutes of measuring
            raise ResourceError("its folder is not there", where=str(path), mend="make the folder first")
    attestation = None
    with bench_progress() as progress:
        if judge:
            key = own_key(store, None, "device", lambda line: click.echo(line, err=True))
            verified = verify(opened, key=key, workload=chosen, progress=progress, threads=threads)
            result, checks, attestation = verified.result, verified.checks, verified.attestation
        else:
            result, checks = run_bench(opened.path, opened.manifest, chosen, progress=progress, threads=threads), ()
    print_result(result, checks, sys.stdout)
    if judge and attestation is not None:
        if not attestation.clock_trusted:
            click.echo(f"clock: {attestation.clock_reason}; the attestation says so", err=True)
        click.echo(f"signed into {bundle} as an attestation for {attestation.device_class}")
    if json_path:
        write_atomic(json_path, result.to_bytes())
    if html_path:
        budgets = opened.manifest.profile.get("budgets") or {}
        write_report(html_path, result, checks, budgets=budgets, attestation=attestation)
        click.echo(f"report: {html_path}")
    return passed(tuple(checks)) if judge else True
