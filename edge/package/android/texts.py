"""The small files of the project: manifests, backup rules, the build's hook, entry points, a recipe, the README."""

from __future__ import annotations

from typing import Final

from edge.package.android.platform_table import ANDROID_API, ARCH, BUILDOZER, LEAST_API, NDK, P4A

XMLNS: Final = 'xmlns:android="http://schemas.android.com/apk/res/android"'
TOOLS: Final = 'xmlns:tools="http://schemas.android.com/tools"'
ACTION: Final = "org.edgekit.VERIFY"
ACTIVITY: Final = "org.kivy.android.PythonActivity"
# A library's manifest may ask for these; the app's word takes them back.
REFUSED_PERMISSIONS: Final = (
    "INTERNET",
    "ACCESS_NETWORK_STATE",
    "ACCESS_WIFI_STATE",
    "READ_EXTERNAL_STORAGE",
    "WRITE_EXTERNAL_STORAGE",
    "READ_PHONE_STATE",
    "FOREGROUND_SERVICE",
    "POST_NOTIFICATIONS",
    "VIBRATE",
)

MAIN_PY: Final = '''"""The app's entry point; python-for-android starts this file."""

from edge.app.android.start import main

main()
'''
ENGINE_PY: Final = '''"""The engine's service; python-for-android starts this file in a process of its own."""

from edge.app.android.service import main

main()
'''
VERIFY_PY: Final = '''"""The service that proves the bundle on this device; started by the app alone."""

from edge.app.android.verify import main

main()
'''


def extra_manifest() -> str:
    """Goes into <manifest>: whatever a library asks for, the app does not have it."""
    lines = (
        f'    <uses-permission {TOOLS} android:name="android.permission.{name}" tools:node="remove" />'
        for name in REFUSED_PERMISSIONS
    )
    return "\n".join(lines) + "\n"


def application_arguments() -> str:
    """Attributes of <application>; android:allowBackup comes from the spec."""
    return (
        'android:usesCleartextTraffic="false" android:fullBackupContent="false" '
        'android:dataExtractionRules="@xml/data_extraction_rules" android:hasFragileUserData="false" '
        'android:largeHeap="true"\n'
    )


def extraction_rules() -> str:
    """Nothing of the app goes into a cloud backup, and nothing to another device, on Android 12 and later."""
    domains = ("root", "file", "database", "sharedpref", "external")
    rules = "\n".join(f'        <exclude domain="{domain}" path="." />' for domain in domains)
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n<data-extraction-rules>\n'
        f"    <cloud-backup>\n{rules}\n    </cloud-backup>\n"
        f"    <device-transfer>\n{rules}\n    </device-transfer>\n</data-extraction-rules>\n"
    )


def debug_manifest() -> str:
    """Merged into debug builds only: the intent of `edge verify --device adb:SERIAL` reaches the app."""
    return f"""<?xml version="1.0" encoding="utf-8"?>
<manifest {XMLNS}>
    <application>
        <activity android:name="{ACTIVITY}" android:exported="true">
            <intent-filter>
                <action android:name="{ACTION}" />
                <category android:name="android.intent.category.DEFAULT" />
            </intent-filter>
        </activity>
    </application>
</manifest>
"""


HOOK: Final = '''"""python-for-android's hook: what buildozer.spec has no key for."""

import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent


def before_apk_assemble(toolchain):
    """Gradle merges src/debug into debug builds only; a release build takes no verification by cable."""
    place = Path(toolchain._dist.dist_dir) / "src" / "debug" / "AndroidManifest.xml"
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "manifest" / "debug" / "AndroidManifest.xml", place)
'''


def llguidance_recipe(version: str) -> str:
    """A recipe of the project's own; it follows the one of pydantic-core and was never built."""
    return f'''"""llguidance for Android; without it the app refuses what needs a grammar. Never built by its author."""

from pythonforandroid.recipe import RustCompiledComponentsRecipe


class LlguidanceRecipe(RustCompiledComponentsRecipe):
    version = "{version}"
    url = "https://github.com/guidance-ai/llguidance/archive/refs/tags/v{{version}}.tar.gz"
    site_packages_name = "llguidance"


recipe = LlguidanceRecipe()
'''


def readme(name: str, package: str, bundle_digest: str, carried: bool, size_bytes: int) -> str:
    """README.md of the project."""
    pushing = (
        f"""
## The bundle
It is among the app's assets ({size_bytes >> 20} MB) and unpacked, with every digest checked, at the first start.
"""
        if carried
        else f"""
## The bundle is pushed
With {size_bytes >> 20} MB it is too large for an app. After the app was installed and opened once:

    adb push BUNDLE /sdcard/Android/data/{package}/files/edge/bundles/{bundle_digest}

(BUNDLE is the folder that this project was made from.) At its next start the app copies it into its private folder,
checks every digest against the list that it was built with, and from then on no longer needs what was pushed.
"""
    )
    return f"""# {name} for Android
Made by `edge package`. Nothing of this was built or run on a device by its author: it is checked by rules, and its
Python part runs in tests on Linux. Expect to mend the build before the first APK.

## Build
A Linux machine with network, Java 17, git, autoconf, cmake, Rust (rustup) and 20 GB of disk. buildozer fetches the SDK
and NDK {NDK}; their licences must be accepted.

    python3 -m venv venv && . venv/bin/activate
    pip install buildozer=={BUILDOZER} 'cython<3.1' setuptools
    pip download --no-deps --no-binary :all: python-for-android=={P4A}
    tar xzf python_for_android-{P4A}.tar.gz && mv python_for_android-{P4A} python-for-android
    buildozer android debug

    adb install -r bin/*-debug.apk

python-for-android is pinned by `p4a.source_dir`, because the versions of its recipes are part of the requirements.
{pushing}
## Check the APK before it goes to a ward
    SDK=~/.buildozer/android/platform/android-sdk
    $SDK/build-tools/*/aapt2 dump permissions bin/*.apk        # nothing but RECORD_AUDIO
    $SDK/build-tools/*/aapt2 dump xmltree bin/*.apk --file AndroidManifest.xml | grep -E 'allowBackup|Cleartext|extract'
    $SDK/build-tools/*/zipalign -c -P 16 -v 4 bin/*.apk        # pages of 16 KiB
    unzip -o bin/*.apk 'lib/{ARCH}/*' -d bin/apk
    for so in bin/apk/lib/{ARCH}/*.so; do readelf -lW "$so" | awk '/LOAD/ && $NF != "0x4000" && $NF != "0x10000"'; done
The last line prints nothing when every library is aligned to 16 KiB, as Android 15 devices with such pages need.
NDK {NDK} aligns what is built here; libraries from elsewhere (libonnxruntime.so) must be checked.

## Prove the bundle on the phone
With a debug build, a cable and USB debugging: open the app once, then on the machine that has the bundle

    edge verify BUNDLE --device adb:

A release build takes no such job: the intent filter is in the debug manifest only and the app asks whether it is
debuggable.

## Release
    buildozer android release     # signed with your own keystore: P4A_RELEASE_KEYSTORE and its three companions

## What is where
`app/` goes into the APK: edge, the pure-Python libraries that it needs (their licences in `app/licences`) and three
entry points. `assets/` holds the bundle. `manifest/`, `res/` and `hook.py` shape AndroidManifest.xml; `recipes/` has
the one recipe that python-for-android lacks. minSdk {LEAST_API}, targetSdk {ANDROID_API}, {ARCH}.
"""
