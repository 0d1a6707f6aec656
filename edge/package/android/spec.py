"""buildozer.spec: its text, and the rules that it is held to."""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping, Sequence
from typing import Final

from edge.app.android.places import ENGINE_SERVICE, VERIFY_SERVICE
from edge.package.android.platform_table import ANDROID_API, ARCH, LEAST_API, LOCAL_RECIPES, NDK, RECIPES

MICROPHONE: Final = "android.permission.RECORD_AUDIO"
ORT: Final = "com.microsoft.onnxruntime:onnxruntime-android"
# The keys of buildozer 1.6 that the project uses; a misspelt one would be skipped by buildozer without a word.
KEYS: Final = frozenset(
    (
        *("title", "package.name", "package.domain", "source.dir", "source.include_exts", "source.exclude_exts"),
        *("source.exclude_dirs", "version", "requirements", "services", "orientation", "fullscreen"),
        *("android.permissions", "android.api", "android.minapi", "android.ndk", "android.ndk_api", "android.archs"),
        *("android.allow_backup", "android.gradle_dependencies", "android.enable_androidx"),
        *("android.extra_manifest_xml", "android.extra_manifest_application_arguments", "android.res_xml"),
        *("android.add_assets", "android.numeric_version", "android.accept_sdk_license", "android.logcat_filters"),
        *("android.release_artifact", "android.debug_artifact", "p4a.source_dir", "p4a.local_recipes", "p4a.bootstrap"),
        "p4a.hook",
    )
)
_VERSION: Final = re.compile(r"[0-9]+(\.[0-9]+){1,3}")


def spec_text(
    *,
    title: str,
    domain: str,
    name: str,
    version: str,
    numeric_version: int,
    ort_version: str,
    requirements: Sequence[str],
    microphone: bool,
) -> str:
    """The whole file. ort_version: of ONNX Runtime's Java library, that of the bundle's runtime."""
    values: dict[str, str] = {
        "title": title,
        "package.name": name,
        "package.domain": domain,
        "source.dir": "app",
        "version": version,
        "requirements": ",".join(requirements),
        "services": f"{ENGINE_SERVICE}:engine_service.py,{VERIFY_SERVICE}:verify_service.py",
        "orientation": "all",
        "fullscreen": "1",
        "android.permissions": MICROPHONE if microphone else "",
        "android.api": str(ANDROID_API),
        "android.minapi": str(LEAST_API),
        "android.ndk": NDK,
        "android.ndk_api": str(LEAST_API),
        "android.archs": ARCH,
        "android.numeric_version": str(numeric_version),
        "android.allow_backup": "False",
        "android.gradle_dependencies": f"{ORT}:{ort_version}",
        "android.extra_manifest_xml": "manifest/extra.xml",
        "android.extra_manifest_application_arguments": "manifest/application.txt",
        "android.res_xml": "res/xml/data_extraction_rules.xml",
        "android.add_assets": "assets/edge:edge",
        "android.release_artifact": "apk",
        "android.debug_artifact": "apk",
        "android.accept_sdk_license": "False",
        # What Python says may hold a patient's words; the system's own log is read by whoever has a cable.
        "android.logcat_filters": "*:S",
        "p4a.source_dir": "python-for-android",
        "p4a.local_recipes": "recipes",
        "p4a.bootstrap": "sdl2",
        "p4a.hook": "hook.py",
    }
    # To buildozer an empty value is a list of one empty word: no file would be copied, a nameless permission asked.
    lines = [f"{key} = {value}" for key, value in values.items() if value]
    return "[app]\n" + "\n".join(lines) + "\n\n[buildozer]\nlog_level = 1\nwarn_on_root = 1\n"


def read_spec(text: str) -> Mapping[str, str]:
    """The [app] section. Errors: configparser.Error."""
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(text)
    return dict(parser["app"])


def spec_faults(spec: Mapping[str, str]) -> tuple[str, ...]:
    """What is wrong with a spec, a sentence each."""
    found = [f"buildozer does not know the key {key}" for key in sorted(set(spec) - KEYS)]
    found += [f"the key {key} is empty, which buildozer takes for a word" for key, value in spec.items() if not value]
    permissions = {one.strip() for one in spec.get("android.permissions", "").split(",") if one.strip()}
    found += [f"the permission {one} is not allowed" for one in sorted(permissions - {MICROPHONE})]
    if spec.get("android.allow_backup") != "False":
        found.append("backups are not switched off")
    if spec.get("android.archs") != ARCH:
        found.append(f"the architecture is not {ARCH} alone")
    for key, least in (("android.api", ANDROID_API), ("android.minapi", LEAST_API), ("android.ndk_api", LEAST_API)):
        if not spec.get(key, "").isdigit() or int(spec[key]) < least:
            found.append(f"{key} is below {least}")
    for dependency in spec.get("android.gradle_dependencies", "").split(","):
        library, _, version = dependency.strip().rpartition(":")
        if library != ORT or not _VERSION.fullmatch(version):
            found.append(f"the Gradle dependency {dependency!r} is not ONNX Runtime in one exact version")
    found += _requirement_faults(spec.get("requirements", ""))
    for service in spec.get("services", "").split(","):
        if len(service.split(":")) != 2:
            found.append(f"the service {service!r} is not a plain one, so it would need a permission")
    return tuple(found)


def _requirement_faults(text: str) -> list[str]:
    found: list[str] = []
    names = {name: version for name, _, version in (one.strip().partition("==") for one in text.split(","))}
    for name in sorted(set(RECIPES) - set(names)):
        found.append(f"the requirement {name} is missing")
    for name, version in sorted(names.items()):
        if name in RECIPES and version != RECIPES[name][0]:
            found.append(
                f"the requirement {name} is {version or 'without a version'}, the recipe is {RECIPES[name][0]}"
            )
        elif name in LOCAL_RECIPES and not version:
            found.append(f"the requirement {name} has no version")
    for name in sorted(set(LOCAL_RECIPES) - set(names)):
        found.append(f"the requirement {name} is missing")
    return found
