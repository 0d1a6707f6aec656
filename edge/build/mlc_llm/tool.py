"""Find the `mlc_llm` command, learn its version and its options, and run it.

The command has no `--version`: it is a Python script, so the interpreter in its first line is asked which
distributions brought mlc_llm and its compiler. What an installed version can do is read from its own `--help`.

It runs in a process group of its own with a short environment and a folder of its own for whatever it writes besides
its output. It sees weights, config and tokenizer, never a text of the profile: its log holds no patient text.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeError, MissingToolError, ResourceError, SourceError
from edge.files import resource_error
from edge.privacy import TELEMETRY_OFF

PROGRAM = "mlc_llm"
PROGRAM_VARIABLE = "EDGE_MLC_LLM"
GET_IT = (
    "install it with its compiler from the wheel index of MLC's own page 'Install MLC LLM Python Package' "
    f"(the package registry has placeholders only), or set {PROGRAM_VARIABLE} to the program"
)
SOURCE_VARIABLE = "MLC_LLM_SOURCE_DIR"
WEB_RUNTIME = Path("web") / "dist" / "wasm" / "mlc_wasm_runtime.bc"  # where auto_target.py looks
PROBE_TIMEOUT_S = 300
TIMEOUTS_S = {"gen_config": 900.0, "convert_weight": 4 * 3600.0, "compile": 4 * 3600.0}
# Every option that edge passes; a version without one of them is refused before the work starts.
OPTIONS = {
    "gen_config": (
        "--quantization",
        "--model-type",
        "--conv-template",
        "--context-window-size",
        "--prefill-chunk-size",
        "--max-batch-size",
        "--tensor-parallel-shards",
        "--output",
    ),
    "convert_weight": ("--quantization", "--model-type", "--device", "--source", "--source-format", "--output"),
    "compile": ("--quantization", "--model-type", "--device", "--host", "--opt", "--output"),
}
LORA_OPTION = "--lora-adapter"
# What the command may see of this environment: where programs and libraries lie, not who is logged in.
KEPT_VARIABLES = (
    "PATH",
    "LANG",
    "LC_ALL",
    "LD_LIBRARY_PATH",
    "OMP_NUM_THREADS",
    "PYTHONPATH",
    "CONDA_PREFIX",
    "VK_ICD_FILENAMES",
    "VK_DRIVER_FILES",
    "NVCC_PREPEND_FLAGS",
)
KEPT_PREFIXES = ("MLC_", "TVM_", "EMSDK", "EM_", "CUDA_", "ANDROID_NDK")
ASK_VERSIONS = (
    "import importlib.metadata as m, importlib.util as u, json, pathlib, re\n"
    "owners = m.packages_distributions()\n"
    "versions = {n: {d: m.version(d) for d in sorted(set(owners.get(n, [])))} for n in ('mlc_llm', 'tvm')}\n"
    # A source tree on PYTHONPATH has no distribution; its own file says the version without being imported.
    "spec = None if versions['mlc_llm'] else u.find_spec('mlc_llm')\n"
    "place = pathlib.Path(spec.origin).with_name('libinfo.py') if spec and spec.origin else None\n"
    "said = re.search('__version__ = .([0-9A-Za-z.+]+)', place.read_text()) if place and place.is_file() else None\n"
    "versions['mlc_llm'].update({'mlc-llm (source tree)': said[1]} if said else {})\n"
    "can = all(u.find_spec(n) is not None for n in ('peft', 'transformers'))\n"
    "print(json.dumps({'versions': versions, 'can_merge': can}))\n"
)
ENSURE_SHELL_EXEC = re.compile(rb"'''exec' (\"[^\"]+\"|\S+) ")
VERSION = re.compile(r"\b\d+\.\d+[0-9A-Za-z.+!-]*")
COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
LAST_WORDS = 160

Run = Callable[..., "subprocess.CompletedProcess[bytes]"]


@dataclass(frozen=True)
class Tool:
    """An installed command. versions: distribution -> version, mlc_llm's own first under the key 'mlc_llm'.

    modes: quantisations it names; takes_adapter: it has `--lora-adapter` and what that needs.
    """

    program: Path
    versions: Mapping[str, str]
    modes: frozenset[str]
    takes_adapter: bool

    @property
    def version(self) -> str:
        """Of mlc_llm itself."""
        return self.versions["mlc_llm"]


def find_program(environment: Mapping[str, str] = os.environ) -> Path:
    """The command's path. Errors: MissingToolError, one line that says how to get it."""
    chosen = environment.get(PROGRAM_VARIABLE)
    if chosen:
        path = Path(chosen).expanduser()
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise MissingToolError(
                f"{PROGRAM_VARIABLE} names no program ({path})", mend="set it to the mlc_llm command"
            )
        return path.absolute()
    found = shutil.which(PROGRAM, path=environment.get("PATH", ""))
    if found is None:
        raise MissingToolError(f"engine mlc_llm needs the '{PROGRAM}' command, which is not on the PATH", mend=GET_IT)
    return Path(found).absolute()


def need_programs(needs: Sequence[tuple[str, str]], environment: Mapping[str, str]) -> None:
    """Errors: MissingToolError for the first (program, what brings it) that is not on the PATH."""
    for name, brought_by in needs:
        if shutil.which(name, path=environment.get("PATH", "")) is None:
            raise MissingToolError(
                f"mlc_llm needs '{name}' for this target, which is not on the PATH", mend=f"install {brought_by}"
            )


def need_web_runtime(environment: Mapping[str, str]) -> None:
    """Errors: MissingToolError when what `compile` links into a WebAssembly module is not there."""
    home = environment.get(SOURCE_VARIABLE, "")
    if not home or not (Path(home) / WEB_RUNTIME).is_file():
        raise MissingToolError(
            f"mlc_llm needs its web runtime ({WEB_RUNTIME.name})",
            where=f"{SOURCE_VARIABLE}={home}" if home else SOURCE_VARIABLE,
            mend="build it in MLC's source tree (web/prep_emcc_deps.sh) and set the variable to that tree",
        )


def tool_environment(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """What the command sees; `home` takes whatever libraries write for themselves."""
    kept = {key: value for key, value in environment.items() if key in KEPT_VARIABLES or key.startswith(KEPT_PREFIXES)}
    places = ("HOME", "XDG_CACHE_HOME", "HF_HOME", "MLC_LLM_HOME", "TMPDIR")
    return (
        kept
        | TELEMETRY_OFF
        | {
            "HF_HUB_OFFLINE": "1",
            "TRANSFORMERS_OFFLINE": "1",
            "PYTHONHASHSEED": "0",
            "PYTHONNOUSERSITE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "COLUMNS": "4000",  # --help in lines that are not broken
            **{key: str(home) for key in places},
        }
    )


def probe(program: Path, environment: Mapping[str, str], home: Path, run: Run = subprocess.run) -> Tool:
    """Ask the command for its version, its options and its quantisations.

    Errors: MissingToolError when it does not start, says nothing of its version, or lacks an option that edge passes.
    """
    seen = tool_environment(environment, home)
    versions, can_merge = _versions(program, seen, home, run)
    helps = {name: _answer([str(program), name, "--help"], seen, home, run) for name in OPTIONS}
    for name, options in OPTIONS.items():
        lacking = [option for option in options if not _names(helps[name], option)]
        if lacking:
            raise MissingToolError(
                f"mlc_llm {versions['mlc_llm']} has no '{lacking[0]}' in `mlc_llm {name}`",
                where=str(program),
                mend="install a newer mlc_llm",
            )
    named = re.findall(r"\bq\d[0-9a-z]*(?:_[0-9a-z]+)?\b", helps["convert_weight"])
    takes = can_merge and _names(helps["convert_weight"], LORA_OPTION)
    return Tool(program, versions, frozenset(named), takes)


def _names(text: str, option: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text) is not None


def _versions(program: Path, seen: Mapping[str, str], home: Path, run: Run) -> tuple[dict[str, str], bool]:
    """({'mlc_llm': version, distribution: version ...}, whether peft and transformers are there)."""
    interpreter = interpreter_of(program)
    if interpreter is not None:
        try:
            value = json.loads(_answer([*interpreter, "-c", ASK_VERSIONS], seen, home, run).strip().splitlines()[-1])
            own, compiler = value["versions"]["mlc_llm"], value["versions"]["tvm"]
            if own:
                return {"mlc_llm": next(iter(own.values())), **own, **compiler}, bool(value["can_merge"])
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            pass  # an interpreter that answers something else; the command itself is asked
        except MissingToolError as error:
            raise MissingToolError(
                f"the interpreter of {program} does not start", mend="install mlc_llm again; " + GET_IT
            ) from error
    with contextlib.suppress(MissingToolError):
        match = VERSION.search(_answer([str(program), "--version"], seen, home, run))
        if match:
            return {"mlc_llm": match[0]}, False
    raise MissingToolError("does not say which version it is", where=str(program), mend=GET_IT)


def interpreter_of(program: Path) -> list[str] | None:
    """The interpreter that a script names in its first lines (pip writes long paths in the second), or None."""
    try:
        with program.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise resource_error(error, str(program)) from error
    if not head.startswith(b"#!"):
        return None
    first = os.fsdecode(head[2:].split(b"\n", 1)[0]).split()
    if first and Path(first[0]).name == "sh":
        match = ENSURE_SHELL_EXEC.search(head)
        return [os.fsdecode(match[1].strip(b'"'))] if match else None
    return first if first and "python" in " ".join(Path(word).name for word in first) else None


def _answer(argv: list[str], seen: Mapping[str, str], home: Path, run: Run) -> str:
    """What a short question prints. Errors: MissingToolError."""
    what = " ".join([Path(argv[0]).name, *(word for word in argv[1:] if "\n" not in word)])
    try:
        done = run(
            argv,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=dict(seen),
            cwd=home,
            timeout=PROBE_TIMEOUT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise MissingToolError(f"`{what}` did not answer in {PROBE_TIMEOUT_S} s", mend=GET_IT) from error
    except OSError as error:
        raise MissingToolError(f"`{what}` does not start ({error.strerror})", where=argv[0], mend=GET_IT) from error
    text = done.stdout.decode("utf-8", "replace")
    if done.returncode != 0:
        raise MissingToolError(
            f"`{what}` ended with status {done.returncode} ({last_words(text)})",
            where=argv[0],
            mend="install mlc_llm again; " + GET_IT,
        )
    return text


def last_words(text: str) -> str:
    """The last line that says something, without colours, cut to a length that fits into one line."""
    lines = [line.strip() for line in COLOUR.sub("", text).splitlines() if line.strip()]
    return lines[-1][:LAST_WORDS] if lines else "it said nothing"


def run_step(
    tool: Tool,
    step: str,
    arguments: Sequence[str],
    *,
    log: Path,
    home: Path,
    environment: Mapping[str, str],
    timeout_s: float | None = None,
    extra: Mapping[str, str] | None = None,
) -> None:
    """`mlc_llm STEP ARGUMENTS`; all it prints goes to `log`, which stays.

    step: gen_config, convert_weight or compile. extra: variables set for this step. Errors, one line each, with the
    log as their place: SourceError (it refused or crashed), ResourceError (killed, or over timeout_s).
    """
    limit = TIMEOUTS_S[step] if timeout_s is None else timeout_s
    try:
        with log.open("wb") as output:
            output.write(f"$ mlc_llm {step} (mlc_llm {tool.version})\n".encode())
            output.flush()
            process = subprocess.Popen(
                [str(tool.program), step, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=tool_environment(environment, home) | dict(extra or {}),
                cwd=home,
                start_new_session=True,
            )
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired as error:
                raise ResourceError(
                    f"mlc_llm {step} took over {limit:g} s", where=str(log), mend="see that log; use a faster host"
                ) from error
            finally:
                _end_group(process)
    except OSError as error:
        raise resource_error(error, str(log)) from error
    if status != 0:
        raise _failed(step, status, log)


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Whatever ended the wait, nothing of the command goes on."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failed(step: str, status: int, log: Path) -> EdgeError:
    if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return ResourceError(
            f"mlc_llm {step} was killed, most likely for lack of memory",
            where=str(log),
            mend="use a host with more memory",
        )
    if status < 0:
        return SourceError(f"mlc_llm {step} crashed with signal {-status}", where=str(log), mend="see that log")
    words = last_words(log.read_bytes()[-4096:].decode("utf-8", "replace"))
    return SourceError(f"mlc_llm {step} ended with status {status} ({words})", where=str(log), mend="see that log")
