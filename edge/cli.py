"""`edge`: parse arguments, call one function, print, exit code. No logic lives here.

Imports are inside the commands: `edge run` must read its prompt within a second, so it may not pay for what
`edge build` needs. Errors are one line on stderr; a bug of ours writes its traceback to a file, never to the
screen, where it might show what somebody typed.
"""

from __future__ import annotations

import edge.privacy  # isort: skip  (telemetry off before anything else is imported)

import contextlib
import io
import json
import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

import click

import edge
from edge.errors import EdgeError, ExitStatus
from edge.fleet import COMMANDS
from edge.lazy import LazyGroup, missing_extra

PATH = click.Path(path_type=Path)
BUILD_FOLDER = Path("build")


@click.group(
    cls=LazyGroup, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(edge.__version__, prog_name="edge")
def cli() -> None:
    """Put a fine-tuned clinical language model on a device and prove that it works there."""


def say(text: str) -> None:
    """One line for the person, on stderr: stdout is for results."""
    click.echo(text, err=True)


@cli.command()
@click.argument("profiles", nargs=-1, type=PATH)
@click.option("--all", "every", is_flag=True, help="All of profiles/, and each model on every target of targets/.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--markdown", is_flag=True, help="With --all: as docs/targets.md holds it.")
@click.option("--into", type=PATH, metavar="FILE", help="With --markdown: put it between FILE's marker lines.")
def plan(profiles: tuple[Path, ...], every: bool, as_json: bool, markdown: bool, into: Path | None) -> None:
    """Say before anything is built whether PROFILES fit their targets, and how fast they can be at best.

    All of it is computed, nothing is measured.
    """
    from edge.build.plan import plan_file
    from edge.build.plan_text import render, render_table

    if (markdown and not every) or (into is not None and not markdown) or (as_json and markdown):
        raise click.UsageError("--markdown goes with --all, --into with --markdown, neither with --json")
    if every:
        from edge.build.plan_all_console import run_plan_all

        run_plan_all(profiles, as_json=as_json, markdown=markdown, into=into)
        return
    if not profiles:
        raise click.UsageError("give a profile, or --all")
    plans = [plan_file(path) for path in profiles]
    if as_json:
        click.echo(json.dumps([item.to_json() for item in plans], indent=1))
    elif len(plans) == 1:
        click.echo(render(plans[0]))
    else:
        click.echo(render_table(plans))
    if len(plans) == 1 and not plans[0].fits:
        sys.exit(ExitStatus.RESOURCE)


@cli.command()
@click.argument("profile", type=PATH)
@click.option("--output", "-o", type=PATH, help="Where the bundle goes (default build/<profile name>).")
@click.option("--key", help="Name of the builder key (default: the only one; made at the first build).")
def build(profile: Path, output: Path | None, key: str | None) -> None:
    """Build PROFILE into a signed bundle."""
    from edge.build.console import run_build

    run_build(profile, output, key, build_folder=BUILD_FOLDER, say=say)


@cli.command()
@click.argument("bundle", type=PATH)
@click.option("--profile", type=PATH, help="The profile (default profiles/<name>.yaml).")
@click.option("--check", is_flag=True, required=True, help="Compare the digests; keep nothing.")
def rebuild(bundle: Path, profile: Path | None, check: bool) -> None:
    """Build BUNDLE again from its profile in another folder and compare, bit by bit."""
    from edge.build.console import run_rebuild

    run_rebuild(bundle, profile, say=say)


@cli.command()
@click.argument("bundle", type=PATH)
@click.option("--files", is_flag=True, help="List every file with its digest.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def inspect(bundle: Path, files: bool, as_json: bool) -> None:
    """Show what is in BUNDLE after checking all of it."""
    from edge.bundle.inspect import summary, summary_json
    from edge.bundle.keys import KeyStore
    from edge.bundle.open import open_bundle

    opened = open_bundle(bundle, KeyStore().trust_store())
    click.echo(json.dumps(summary_json(opened), indent=1) if as_json else summary(opened, files=files))


@cli.command()
@click.argument("bundle", type=PATH)
@click.argument("tar", type=PATH)
def pack(bundle: Path, tar: Path) -> None:
    """Pack a checked BUNDLE folder into one TAR, the same bytes every time."""
    from edge.bundle.archive import pack as pack_folder
    from edge.bundle.keys import KeyStore
    from edge.bundle.open import open_bundle

    opened = open_bundle(bundle, KeyStore().trust_store())
    pack_folder(opened.path, tar)
    click.echo(f"{tar}  {tar.stat().st_size / 1e6:.1f} MB  bundle {opened.bundle_digest[:16]}")


@cli.command()
@click.argument("bundles", nargs=-1, required=True, type=PATH)
@click.option("--format", "form", type=click.Choice(["deb", "android"]), help="Default: by the bundles' target.")
@click.option("--output", "-o", type=PATH, default=BUILD_FOLDER, show_default=True, help="The folder it goes into.")
@click.option("--python", default="3.11", show_default=True, help="Python of the board.")
@click.option("--revision", default="1", show_default=True, help="A number that counts up: dpkg sees an upgrade.")
@click.option("--jetpack", help="A Jetson's, as 6.2, or a file with its /etc/nv_tegra_release.")
@click.option("--gpu-wheel", type=PATH, help="A GPU wheel of ONNX Runtime to look at, with --jetpack.")
def package(bundles: tuple[Path, ...], **options: Any) -> None:
    """Make an installable package of BUNDLES for their devices: a .deb, or an Android project."""
    from edge.package.console import package_command

    click.echo(str(package_command(bundles, say=say, **options)))


@cli.group()
def keys() -> None:
    """Signing keys and whom this machine trusts."""


@keys.command("new")
@click.argument("name")
@click.option("--role", type=click.Choice(["builder", "device"]), default="builder", show_default=True)
def keys_new(name: str, role: str) -> None:
    """Make a key NAME; the private half never leaves this machine."""
    from edge.bundle.keys import KeyStore

    info = KeyStore().create(name, role)
    click.echo(f"{info.name}  {info.role}  {info.fingerprint}")


@keys.command("list")
def keys_list() -> None:
    """Own and trusted keys."""
    from edge.bundle.keys import KeyStore

    for info in KeyStore().list():
        click.echo("  ".join(str(value) for value in vars(info).values()))


@keys.command("export")
@click.argument("name")
def keys_export(name: str) -> None:
    """Print the public half of NAME as PEM."""
    from edge.bundle.keys import KeyStore

    click.echo(KeyStore().public(name).to_pem().decode(), nl=False)


@keys.command("trust")
@click.argument("public_pem", type=PATH)
@click.argument("name")
@click.option("--role", type=click.Choice(["builder", "device"]), default="builder", show_default=True)
def keys_trust(public_pem: Path, name: str, role: str) -> None:
    """Trust somebody's public key under NAME."""
    from edge.bundle.keys import KeyStore

    info = KeyStore().trust(public_pem, name, role)
    click.echo(f"trusted: {info.name}  {info.role}  {info.fingerprint}")


@keys.command("untrust")
@click.argument("name")
def keys_untrust(name: str) -> None:
    """Trust NAME no longer."""
    from edge.bundle.keys import KeyStore

    click.echo(f"no longer trusted: {KeyStore().untrust(name).name}")


@cli.command()
@click.argument("bundle", type=PATH)
@click.option("--workload", default="quick", show_default=True, help="quick, full, or a YAML file.")
@click.option("--json", "json_path", type=PATH, help="Write the result as JSON.")
@click.option("--html", "html_path", type=PATH, help="Write the report as one HTML file.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Override the profile's threads.")
def bench(bundle: Path, workload: str, json_path: Path | None, html_path: Path | None, threads: int | None) -> None:
    """Measure BUNDLE on this device; judge nothing, sign nothing."""
    from edge.bench.console import bench_command

    bench_command(bundle, workload, json_path, html_path, threads, judge=False)


@cli.command()
@click.argument("bundle", type=PATH)
@click.option("--workload", help="quick, full, or a YAML file (default: quick; the least for an emulated device).")
@click.option("--json", "json_path", type=PATH, help="Write the result as JSON.")
@click.option("--html", "html_path", type=PATH, help="Write the report as one HTML file.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Override the profile's threads.")
@click.option("--device", "address", default="local", show_default=True,
              help="local, ssh://user@host[:port], adb:SERIAL or emulated:NAME.")  # fmt: skip
@click.option(
    "--device-folder", "folder", default="", help="edge's folder on the device (default ~/.local/share/edge)."
)
@click.option("--accept-new-host-key", is_flag=True, help="ssh: trust a host key at its first use.")
@click.option("--trust-builder", is_flag=True, help="The device shall trust this bundle's builder beside others.")
def verify(
    bundle: Path, workload: str | None, json_path: Path | None, html_path: Path | None, threads: int | None,
    **where: Any,
) -> None:  # fmt: skip
    """Prove BUNDLE on a device: golden cases, fidelity, speed, memory, budgets; sign the verdict into it."""
    from edge.bench.console import Where, bench_command

    if not bench_command(bundle, workload, json_path, html_path, threads, judge=True, where=Where(**where)):
        sys.exit(ExitStatus.GATE)


@cli.command()
@click.argument("bundle", type=PATH)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True), required=False)
@click.option("--task", help="A task of the bundle, for example note; without it: a chat.")
@click.option("--force", is_flag=True, help="Run although this build failed its device test.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Override the profile's threads.")
@click.option("--max-new-tokens", type=click.IntRange(1, 8192), help="Override the task's limit.")
@click.option("--temperature", type=float, help="0 is greedy.")
@click.option("--top-p", type=float)
@click.option("--seed", type=int)
@click.option("--evidence", is_flag=True, help="Below each line of a note, the words of the visit it stands on.")
@click.option("--json", "json", is_flag=True, help="Write the whole result as JSON.")
@click.option("--candidates", help='Diagnoses to rank, as "Gout; Cellulitis"; without it: an open list.')
@click.option("--eye", type=click.Choice(["OD", "OS", "OU"]), help="The eye that an ophthalmology question is about.")
@click.option("--multiple", is_flag=True, help="A multiple-choice question may have several right letters.")
@click.option("--answer", "answer_file", type=PATH, help="The answer to judge (task judge).")
def run(bundle: Path, file: Path | None, task: str | None, force: bool, threads: int | None, **sampler: Any) -> None:
    """Run BUNDLE: draft from FILE with --task (- is stdin), or chat."""
    from edge.clinical.console import run_command

    status = run_command(bundle, file, task, force=force, threads=threads, options=sampler)
    if status:
        sys.exit(status)


@cli.command()
@click.argument("bundles", nargs=-1, type=PATH)
@click.option("--data", type=PATH, help="Where patients' data lies, encrypted (default: the user's data folder).")
@click.option("--samples", is_flag=True, help="Put synthetic sample patients into a worklist that is empty.")
@click.option("--size", help="Of the window, in pixels (default: the target's panel, else 1280x800).")
@click.option("--density", type=click.FloatRange(0.5, 4.0), help="Pixels per dp (default: the panel's dpi / 160).")
@click.option("--fullscreen", is_flag=True, help="Fill the panel.")
@click.option("--keyboard/--no-keyboard", default=None, help="Letters on the screen (default: with --fullscreen).")
@click.option("--speech-model", type=PATH, help="Folder of a faster-whisper model, for speech.")
@click.option("--kiosk-install", type=PATH, metavar="ROOT", help="Write the kiosk's units below ROOT; open nothing.")
def app(bundles: tuple[Path, ...], **options: Any) -> None:
    """Open the bedside app with BUNDLES; each task is served by the first bundle that has it."""
    from edge.app.console import app_command

    sys.exit(app_command(bundles, **options))


@cli.command()
@click.argument("bundle", type=PATH)
@click.argument("suite", required=False)
@click.option("--suite", "suite_option", metavar="SUITE", help="notes, diagnosis, ophthalmology or judge.")
@click.option("--data", "data_path", type=PATH, required=True, help="A file in the suite's form.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N cases of the file.")
@click.option("--split", type=click.Choice(["all", "train", "valid", "test"]), default="all", show_default=True,
              help="A part of edge's own split of DxBench.")  # fmt: skip
@click.option("--json", "json_path", type=PATH, help="Write the result as JSON.")
@click.option("--html", "html_path", type=PATH, help="Write the report as one HTML file.")
@click.option("--baseline", "baseline_path", type=PATH, help="A result of another build, to compare in pairs.")
@click.option("--margin", "margins", multiple=True, metavar="METRIC=X", help="Non-inferiority against the baseline.")
@click.option("--keep-outputs", type=PATH, help="Keep the generated texts in this folder (0600).")
@click.option("--outputs", type=PATH, help="Score outputs that were kept, do not generate.")
@click.option("--bertscore", type=PATH, help="Folder of a BERTScore model; without it: not measured.")
@click.option("--bleurt", type=PATH, help="Folder of a BLEURT model; without it: not measured.")
@click.option("--samples", type=click.IntRange(min=1), help="Times each case is asked (3 for k = 3).")
@click.option("--fresh", is_flag=True, help="Forget what an interrupted run of the same kind has done.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Override the profile's threads.")
@click.option("--checked/--unchecked", default=True, help="Notes: with the fact check, or the model's own lines.")
@click.option("--constrained/--unconstrained", default=True, help="Notes: with the grammar, or without.")
@click.option("--table/--no-table", default=True, help="Diagnosis: with the knowledge table, or the model alone.")
@click.option("--open-question/--no-open-question", default=True, help="Diagnosis: the unlisted question counts too.")
def evaluate(
    bundle: Path, suite: str | None, suite_option: str | None, data_path: Path, json_path: Path | None,
    html_path: Path | None, baseline_path: Path | None, **options: Any,
) -> None:  # fmt: skip
    """Measure the quality of BUNDLE on a data set: SUITE is notes, diagnosis, ophthalmology or judge."""
    from edge.evaluate.console import evaluate_command

    name = suite or suite_option
    if name is None:
        raise click.UsageError("name a suite: notes, diagnosis, ophthalmology or judge")
    if not evaluate_command(
        bundle, name, data_path, json_path=json_path, html_path=html_path, baseline_path=baseline_path, **options
    ):
        sys.exit(ExitStatus.GATE)


@cli.command()
@click.argument("recipe", type=PATH)
@click.option("--data", type=PATH, help="The folder of the data sets that the recipe names.")
@click.option("--out", type=PATH, help="Where the adapter goes (default: the recipe's output).")
@click.option("--resume/--fresh", default=True, show_default=True, help="Go on with a run of this recipe, or anew.")
@click.option("--minutes", type=click.FloatRange(0), help="Stop and save after so long; the same command goes on.")
@click.option("--dry-run", is_flag=True, help="Parameters, memory, steps and time; no weights are needed.")
@click.option("--tokens-per-second", type=click.FloatRange(0, min_open=True), help="For the time of --dry-run.")
@click.option("--threads", type=click.IntRange(1, 1024), help="Override the recipe's threads.")
@click.option("--device", help="cpu, cuda or cuda:N (default: a GPU where there is one).")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def adapt(
    recipe: Path, data: Path | None, out: Path | None, resume: bool, dry_run: bool, tokens_per_second: float | None,
    as_json: bool, **options: Any,
) -> None:  # fmt: skip
    """Train the adapter that RECIPE describes; resumable, from data to a folder with a data card."""
    from edge.adapt.console import run_adapt, run_dry

    if dry_run:
        click.echo(run_dry(recipe, data, tokens_per_second, as_json=as_json))
        return
    runs = BUILD_FOLDER / "adapt"
    click.echo(run_adapt(recipe, data, out, run_folder=runs, say=say, as_json=as_json, fresh=not resume, **options))


def main() -> None:
    """Entry point: run a command and turn errors into one line and an exit code."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal of another encoding must not lose a draft
    try:
        cli(standalone_mode=False)
    except EdgeError as error:
        say(f"edge: {error}")
        sys.exit(error.status)
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SystemExit as stop:
        if stop.code == 1:  # no command of ours ends so; click does, when the reader of a pipe went away: `| head`
            sys.exit(ExitStatus.OK)
        raise
    except (click.Abort, KeyboardInterrupt):
        say("edge: stopped")
        sys.exit(ExitStatus.INTERRUPTED)
    except ModuleNotFoundError as error:
        told = missing_extra(error)
        if told is None:
            sys.exit(_internal(error))
        say(f"edge: {told}")
        sys.exit(told.status)
    except MemoryError:
        say("edge: not enough memory. Close other programs, or use a smaller model or context.")
        sys.exit(ExitStatus.RESOURCE)
    except OSError as error:
        sys.exit(_unwritable(error))
    except Exception as error:  # noqa: BLE001  the last line of defence: one line, exit code 1
        sys.exit(_internal(error))


def _unwritable(error: OSError) -> int:
    """A file, or standard output, that cannot be read or written."""
    from edge.files import resource_error

    with contextlib.suppress(OSError):  # what is still held back would fail once more when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    reason = resource_error(error, str(error.filename or "standard output"))
    say(f"edge: {reason}")
    return int(reason.status)


def _internal(error: Exception) -> int:
    """Our own bug: where it happened goes to a file, without the values that people typed."""
    frames = "".join(traceback.format_tb(error.__traceback__))
    with tempfile.NamedTemporaryFile("w", prefix="edge-", suffix=".log", delete=False) as file:
        file.write(f"{type(error).__name__}\n{frames}")
    say(f"edge: a bug in edge ({type(error).__name__}), its place is in {file.name}. Please report it.")
    return int(ExitStatus.INTERNAL)


if __name__ == "__main__":
    main()
