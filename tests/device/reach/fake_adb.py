"""A program that behaves as the documented `adb` does, with a device that is a folder and an app that is scripted.

Its state is the JSON file FAKE_ADB: `devices` (lines), `root` (the folder that stands for /), `fail` (what goes wrong,
by the first words of a command), `app` (a command run at `am start`, with the run's folder as its argument), `log`.
The device's shell is this machine's, with the paths of the device put below `root`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

STATE = Path(os.environ["FAKE_ADB"])


def main(arguments: list[str]) -> int:
    state = json.loads(STATE.read_text())
    root = Path(state["root"])
    with (root / "adb.log").open("a") as log:
        log.write(json.dumps(arguments) + "\n")
    if arguments[:2] == ["devices", "-l"]:
        print("* daemon started successfully\nList of devices attached")
        print("\n".join(state["devices"]))
        return 0
    if arguments[0] != "-s":
        print("adb: usage: unknown command", file=sys.stderr)
        return 1
    verb, *rest = arguments[2:]
    for words, (code, said) in state.get("fail", {}).items():
        if " ".join([verb, *rest]).startswith(words):
            print(said, file=sys.stderr)
            return int(code)
    if verb == "shell":
        return shell(" ".join(rest), root, state)
    if verb == "push":
        target = root / rest[1].lstrip("/")
        after = state.get("push_after_bytes")
        data = Path(rest[0]).read_bytes()
        target.parent.mkdir(parents=True, exist_ok=True)
        if after is not None and len(data) > after:
            target.write_bytes(data[:after])
            name = state.get("push_error", "remote write failed: No space left on device")
            print(f"adb: error: failed to copy '{rest[0]}' to '{rest[1]}': {name}", file=sys.stderr)
            return 1
        target.write_bytes(data if not state.get("garble") else data[::-1])
        print(f"{rest[0]}: 1 file pushed, 0 skipped.")
        return 0
    if verb == "pull":
        source = root / rest[0].lstrip("/")
        if not source.is_file():
            print(f"adb: error: failed to stat remote object '{rest[0]}': No such file or directory", file=sys.stderr)
            return 1
        shutil.copyfile(source, rest[1])
        return 0
    print(f"adb: unknown command {verb}", file=sys.stderr)
    return 1


def shell(script: str, root: Path, state: dict[str, object]) -> int:
    """The commands that we use, on the folder."""
    properties = dict(state.get("properties", {}))  # type: ignore[call-overload]
    if script.startswith("getprop "):
        print(properties.get(script.split()[1], ""))
        return 0
    if script.startswith("pm path "):
        print("package:/data/app/base.apk" if state.get("installed", True) else "")
        return 0 if state.get("installed", True) else 1
    if script.startswith("df -k "):
        free = int(state.get("free_kb", 10_000_000))  # type: ignore[call-overload]
        print(f"Filesystem 1K-blocks Used Available Use% Mounted on\n/dev/fuse 99 9 {free} 1% /storage/emulated")
        return 0
    if script.startswith("cat /proc/cpuinfo"):
        print(f"processor\t: 0\nFeatures\t: {state.get('features', 'fp asimd')}")
        return 0
    if script.startswith("am start "):
        print("Starting: Intent { act=org.edgekit.VERIFY }")
        if state.get("am"):
            print(state["am"])
            return 0
        run = script.split("--es run ")[1].split()[0]
        folder = root / f"sdcard/Android/data/org.edgekit.edge/files/edge/verify/{run}"
        if state.get("app"):
            subprocess.run([*state["app"], str(folder)], check=False)  # type: ignore[misc]
        return 0
    placed = script.replace("/sdcard/", f"{root}/sdcard/")
    done = subprocess.run(["/bin/sh", "-c", placed], check=False, capture_output=True, text=True)
    sys.stdout.write(done.stdout.replace(f"{root}/sdcard/", "/sdcard/"))
    sys.stderr.write(done.stderr)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
