"""The Android project: complete, by the rules, the same twice; and a project that breaks a rule is caught."""

from __future__ import annotations

import hashlib
import os
import py_compile
import shutil
import subprocess
import sys
import sysconfig
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import edge
from edge.bundle.keys import KeyStore
from edge.bundle.open import OpenBundle
from edge.device.wheels import edge_source
from edge.errors import EdgeError, InputError, MissingToolError, UntrustedError
from edge.package.android import AndroidOptions, project, write_project
from edge.package.android.check import faults, permissions_of, walk_imports
from edge.package.android.platform_table import LEFT_OUT, RECIPES, VENDORED, requirements
from edge.package.android.spec import read_spec, spec_faults
from edge.package.android.vendor import vendor
from tests.package.fakes import bundle, signer

pytestmark = pytest.mark.slow  # a project has eight hundred files, and most tests read all of them
HERE = Path(__file__).parent
SITE = sysconfig.get_paths()["purelib"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> KeyStore:
    return signer(tmp_path_factory.mktemp("home"))[0]


@pytest.fixture(scope="module")
def notes(store: KeyStore, tmp_path_factory: pytest.TempPathFactory) -> OpenBundle:
    return bundle(tmp_path_factory.mktemp("b") / "notes", store.load_signing_key(), on="android-arm64")


@pytest.fixture(scope="module")
def options(store: KeyStore, tmp_path_factory: pytest.TempPathFactory) -> AndroidOptions:
    """One copy of edge for all projects: somebody may be at work on the sources meanwhile."""
    return AndroidOptions(trusted=store.trust_store().keys, source=edge_source(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="module")
def written(notes: OpenBundle, options: AndroidOptions, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("p") / "notes-android"
    assert write_project(notes, folder, options=options) == folder / "buildozer.spec"
    return folder


def tree(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


# ---- a whole project ------------------------------------------------------------------------------------------


def test_it_keeps_all_rules(written: Path) -> None:
    """Spec, manifests, Python, imports, assets: nobody builds it here, so the rules are all there is."""
    assert faults(written) == ()


def test_the_spec_says_what_was_asked(written: Path, notes: OpenBundle) -> None:
    """One permission, no backup, one architecture, ONNX Runtime of the bundle's own version."""
    spec = read_spec((written / "buildozer.spec").read_text())
    assert spec["android.permissions"] == "android.permission.RECORD_AUDIO"
    assert spec["android.allow_backup"] == "False"
    assert (spec["android.api"], spec["android.minapi"], spec["android.archs"]) == ("35", "24", "arm64-v8a")
    version = notes.manifest.runtime["onnxruntime"]
    assert spec["android.gradle_dependencies"] == f"com.microsoft.onnxruntime:onnxruntime-android:{version}"
    assert f"{spec['package.domain']}.{spec['package.name']}" == "org.edgekit.edge"  # docs/devices.md promises it
    assert spec["services"] == "Engine:engine_service.py,Verify:verify_service.py"
    for name, (pinned, _) in RECIPES.items():
        assert f"{name}=={pinned}" in spec["requirements"].split(",") or (not pinned and name in spec["requirements"])


def test_manifests_open_nothing(written: Path) -> None:
    """No file of the project asks for the network, opens a component, or lets a backup take patients' data."""
    for path in written.rglob("*.xml"):
        if path.name == "extra.xml" or "app" in path.relative_to(written).parts:
            continue
        root = ElementTree.parse(path).getroot()  # noqa: S314
        assert permissions_of(root) == set()
        assert not [one for one in root.iter() if one.tag in ("receiver", "service", "provider")]
    texts = [path.read_text() for path in (written / "manifest").rglob("*") if path.is_file()]
    assert not any('permission.INTERNET" />' in text.replace('tools:node="remove" ', "x") for text in texts)
    assert 'usesCleartextTraffic="false"' in (written / "manifest/application.txt").read_text()


def test_every_python_file_compiles(written: Path, tmp_path: Path) -> None:
    """python-for-android byte-compiles all of it; a file that does not compile stops the build after an hour."""
    for path in (*written.glob("*.py"), *written.glob("app/*.py"), *written.glob("recipes/*/*.py")):
        py_compile.compile(str(path), cfile=str(tmp_path / "x.pyc"), doraise=True)


def test_data_of_the_app_is_there(written: Path) -> None:
    """Screens, fonts, words, tables: read at run time, so no import would miss them."""
    for folder, pattern in (
        *(("ui", "*.kv"), ("ui/fonts", "*.ttf"), ("i18n", "*.yaml")),
        *(("../clinical", "*.yaml"), ("../clinical/data", "*.tsv")),
    ):
        source = Path(edge.__file__).parent / "app" / folder
        names = {path.relative_to(source) for path in source.rglob(pattern)}
        copied = (written / "app" / "edge" / "app" / folder).resolve()
        assert names
        assert names == {path.relative_to(copied) for path in copied.rglob(pattern)}
    for name in VENDORED:
        assert list((written / "app" / "licences" / name).iterdir()), name
    assert not [path for path in (written / "app").rglob("*") if path.suffix in (".so", ".pyc", ".c")]
    assert not [path for path in written.rglob("*") if "darkgarden" in path.name.lower()]


def test_nothing_of_this_machine_is_in_it(written: Path, notes: OpenBundle) -> None:
    """Paths of the builder's machine, or a private key, would travel to every tablet."""
    for path in written.rglob("*"):
        if path.is_file() and path.suffix in (".py", ".spec", ".md", ".xml", ".txt", ".json", ".pem"):
            data = path.read_bytes()
            assert str(notes.path).encode() not in data
            assert str(Path.home()).encode() + b"/" not in data or "/app/" in str(path)
            assert b"PRIVATE KEY-----" not in data or path.is_relative_to(written / "app")


def test_the_same_bundle_gives_the_same_project(
    written: Path, notes: OpenBundle, options: AndroidOptions, tmp_path: Path
) -> None:
    """Two builders must be able to compare what they ship."""
    write_project(notes, tmp_path / "again", options=options)
    assert tree(tmp_path / "again") == tree(written)


def run_imports(written: Path, *modules: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-S", "-B", str(HERE / "device_imports.py"), str(written / "app"), SITE, *modules]
    quiet = {"KIVY_NO_ARGS": "1", "KIVY_NO_CONSOLELOG": "1", "KIVY_NO_FILELOG": "1", "KIVY_NO_CONFIG": "1"}
    home = {"HOME": str(written.parent), "PATH": os.defpath, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=quiet | home)


def test_the_device_path_imports_with_recipes_alone(written: Path) -> None:
    """What the walk of the sources believes is tried out: the project, the recipes' libraries, and nothing else."""
    done = run_imports(
        written,
        *("edge.app.android.start", "edge.app.android.platform", "edge.app.android.service", "edge.app.android.verify"),
        *("edge.app.engine.host", "edge.app.engine.host_load", "edge.app.engine.host_runs", "edge.runtime.session"),
        *("edge.app.engine.host_device", "edge.app.engine.host_bench", "edge.runtime.android_engine"),
        *("edge.clinical.drafting", "edge.clinical.differential", "edge.clinical.ophthalmology", "edge.clinical.judge"),
        *("edge.clinical.power_on", "edge.app.export.pdf", "edge.app.export.folder", "reportlab.platypus"),
        *(
            "rapidfuzz.fuzz",
            "rapidfuzz.process",
            "rapidfuzz.distance.DamerauLevenshtein",
            "jinja2.sandbox",
            "llguidance",
        ),
    )
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & set(LEFT_OUT)


def test_the_screens_import_on_the_device(written: Path) -> None:
    """The window's own code, with Kivy from its recipe."""
    done = run_imports(written, "edge.app.ui.environment", "edge.app.ui.safety_net", "edge.app.presenters.about")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "name", ["tokenizers", "onnxruntime", "pydantic", "click", "sqlcipher3", "torch", "yaml._yaml"]
)
def test_what_is_left_out_is_really_not_there(written: Path, name: str) -> None:
    """The test above must be able to fail: these imports do."""
    done = run_imports(written, name)
    assert done.returncode != 0
    assert "ModuleNotFoundError" in done.stderr


# ---- what is refused ------------------------------------------------------------------------------------------


def test_bundles_that_are_not_for_android(
    store: KeyStore, notes: OpenBundle, options: AndroidOptions, tmp_path: Path
) -> None:
    """The wrong target or engine, odd names, a folder in the way: one line each, nothing written."""
    board = bundle(tmp_path / "pi", store.load_signing_key())
    with pytest.raises(InputError, match="not for Android"):
        write_project(board, tmp_path / "p", options=options)
    manifest = replace(notes.manifest, runtime={"engine": "tvm"})
    with pytest.raises(InputError, match="onnxruntime"):
        write_project(replace(notes, manifest=manifest), tmp_path / "p", options=options)
    for odd in (replace(options, domain="edge"), replace(options, name="Edge App"), replace(options, title=" ")):
        with pytest.raises(InputError):
            write_project(notes, tmp_path / "p", options=odd)
    assert not (tmp_path / "p").exists()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="something else"):
        write_project(notes, tmp_path / "p", options=options)
    assert (tmp_path / "p" / "thesis.txt").read_text() == "mine"


def test_the_signer_must_be_trusted_here(notes: OpenBundle, store: KeyStore, tmp_path: Path) -> None:
    """An app that trusts nobody opens no bundle; whom this machine does not trust the app must not either."""
    assert project.trusted_keys(notes, store) == store.trust_store().keys
    with pytest.raises(UntrustedError):
        project.trusted_keys(notes, KeyStore(tmp_path))


def test_a_project_in_the_way_is_replaced_whole(
    written: Path, notes: OpenBundle, options: AndroidOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written again over itself; when that fails what was there stays, and no litter."""
    place = tmp_path / "p"
    shutil.copytree(written, place)
    (place / "stale.txt").write_text("old")
    write_project(notes, place, options=options)
    assert tree(place) == tree(written)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(project, "vendor", full)
    with pytest.raises(EdgeError, match="no space left"):
        write_project(notes, place, options=options)
    assert tree(place) == tree(written)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".p.")] == []


def test_a_project_that_breaks_a_rule_is_not_given_out(
    notes: OpenBundle, options: AndroidOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules are no advice."""
    monkeypatch.setattr(project, "faults", lambda _: ("something is wrong",))
    with pytest.raises(EdgeError, match="something is wrong"):
        write_project(notes, tmp_path / "p", options=options)
    assert not (tmp_path / "p").exists()


def test_a_missing_library_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the app's extras."""
    monkeypatch.setitem(VENDORED, "no-such-library", "nothing")  # type: ignore[arg-type]
    with pytest.raises(MissingToolError, match="no-such-library"):
        vendor(tmp_path)


def test_options_change_what_they_name(notes: OpenBundle, options: AndroidOptions, tmp_path: Path) -> None:
    """No microphone where no speech is recognised; a bundle that is pushed; another package."""
    other = replace(options, microphone=False, fhir=True, name="ward", numeric_version=7, most_carried_bytes=1)
    write_project(notes, tmp_path / "p", options=other)
    spec = read_spec((tmp_path / "p" / "buildozer.spec").read_text())
    assert "android.permissions" not in spec
    assert (spec["package.name"], spec["android.numeric_version"]) == ("ward", "7")
    assert "fhir.resources" in spec["requirements"]
    assert "adb push BUNDLE /sdcard/Android/data/org.edgekit.ward/" in (tmp_path / "p" / "README.md").read_text()
    assert not list((tmp_path / "p" / "assets" / "edge").glob("part-*"))


# ---- the rules find what they are for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"android.permissions": "android.permission.INTERNET"}, "INTERNET is not allowed"),
        ({"android.allow_backup": "True"}, "backups"),
        ({"android.archs": "arm64-v8a,x86"}, "architecture"),
        ({"android.api": "33"}, "below 35"),
        (
            {"android.gradle_dependencies": "com.microsoft.onnxruntime:onnxruntime-android:latest.release"},
            "exact version",
        ),
        ({"android.gradle_dependencies": "com.example:other:1.0"}, "not ONNX Runtime"),
        ({"services": "Engine:engine_service.py:foreground"}, "not a plain one"),
        ({"android.alow_backup": "False"}, "does not know"),
        ({"source.include_exts": ""}, "is empty"),
        ({"requirements": "python3"}, "numpy is missing"),
        ({"requirements": ",".join(requirements("1.0")).replace("kivy==2.3.1", "kivy==9")}, "kivy is 9"),
        ({"requirements": ",".join(requirements("1.0")).replace("llguidance==1.0", "llguidance")}, "has no version"),
    ],
)
def test_a_bad_spec_is_found(written: Path, change: dict[str, str], says: str) -> None:
    """Each rule against a spec that breaks it."""
    spec = dict(read_spec((written / "buildozer.spec").read_text())) | change
    assert any(says in fault for fault in spec_faults(spec))


def edit(name: str, before: str, after: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert before in text
        path.write_text(text.replace(before, after))

    return change


@pytest.mark.parametrize(
    ("rule", "harm", "says"),
    [
        (
            "xml",
            edit("manifest/extra.xml", ' tools:node="remove"', ""),
            "asks for the permission android.permission.INTERNET",
        ),
        ("xml", edit("manifest/extra.xml", "/>", ">"), "no XML"),
        ("xml", edit("manifest/application.txt", "false", "true"), "usesCleartextTraffic is not false"),
        (
            "xml",
            edit("res/xml/data_extraction_rules.xml", '<exclude domain="database" path="." />', ""),
            "leave everything out",
        ),
        ("xml", edit("manifest/debug/AndroidManifest.xml", "org.edgekit.VERIFY", "x"), "does not take the intent"),
        (
            "xml",
            edit("manifest/debug/AndroidManifest.xml", "</application>", "<receiver /></application>"),
            "opens a receiver",
        ),
        ("python", edit("app/main.py", "main()\n", "main(\n"), "does not compile"),
        ("python", edit("app/main.py", "main()\n", "main()\nimport torch\n"), "imports torch"),
        (
            "python",
            edit("app/engine_service.py", "main()\n", "main()\nimport edge.build.plan\n"),
            "imports edge.build.plan",
        ),
        ("files", lambda folder: (folder / "hook.py").unlink(), "hook.py is missing"),
        ("files", lambda folder: (folder / "app/verify_service.py").unlink(), "verify_service.py is missing"),
        ("python", lambda folder: shutil.rmtree(folder / "app/yaml"), "imports yaml"),
        ("assets", lambda folder: (folder / "assets/edge/part-00001.bin").write_bytes(b"x"), "is not the bundle's"),
        ("assets", lambda folder: (folder / "assets/edge/index.json").unlink(), "no index"),
        ("assets", edit("assets/edge/index.json", '"role": "builder"', '"role": "device"'), "trust no builder"),
        ("spec", lambda folder: (folder / "buildozer.spec").write_text("[nothing"), "cannot be read"),
    ],
)
def test_a_harmed_project_is_found(
    written: Path, tmp_path: Path, rule: str, harm: Callable[[Path], None], says: str
) -> None:
    """Each rule against a project that breaks it: a rule that finds nothing protects nobody."""
    folder = tmp_path / "p"
    shutil.copytree(written, folder)
    harm(folder)
    found = faults(folder, (rule,))
    assert any(says in fault for fault in found), found


def test_the_walk_goes_through_functions(tmp_path: Path) -> None:
    """edge imports late on purpose; a walk of the top alone would see nothing."""
    (tmp_path / "main.py").write_text("def late():\n    from edge import inner\n")
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge/__init__.py").write_text("")
    (tmp_path / "edge/inner.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import unseen\nimport seen\n"
    )
    assert {name for name in walk_imports(tmp_path) if name != "typing"} == {"seen"}
