"""A written project, read back and held to rules, since nobody builds it here.

The spec parses and keeps its rules; every XML parses; no permission but the microphone is asked for anywhere; every
Python file compiles; whatever the entry points import, however deep, is in the project, in Python, in a recipe, or is
named as left out; every asset has its digest.
"""

from __future__ import annotations

import ast
import configparser
import hashlib
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from edge.app.android.assets import FOLDER, AssetIndex, read_index
from edge.errors import EdgeError
from edge.package.android.platform_table import LEFT_OUT, LOCAL_RECIPES, RECIPES
from edge.package.android.spec import MICROPHONE, read_spec, spec_faults
from edge.package.android.texts import ACTION, XMLNS

SPEC: Final = "buildozer.spec"
ENTRIES: Final = ("main.py", "engine_service.py", "verify_service.py")
ANDROID: Final = "{http://schemas.android.com/apk/res/android}"
TOOLS: Final = "{http://schemas.android.com/tools}"
_WANTED_ATTRIBUTES: Final = {
    "usesCleartextTraffic": "false",
    "fullBackupContent": "false",
    "dataExtractionRules": "@xml/data_extraction_rules",
}
# Rooms of edge that a device has nothing of.
_BUILD_ROOMS: Final = ("edge.build", "edge.adapt", "edge.evaluate", "edge.package")


def faults(folder: Path, only: Collection[str] = ()) -> tuple[str, ...]:
    """What is wrong with a project, a sentence each; () when it keeps all rules. only: names of RULES; () is all."""
    try:
        spec = read_spec((folder / SPEC).read_text(encoding="utf-8"))
    except (OSError, KeyError, configparser.Error) as error:
        return (f"{SPEC} cannot be read ({type(error).__name__})",)
    return tuple(fault for name, rule in RULES.items() if not only or name in only for fault in rule(folder, spec))


def _spec_faults(_folder: Path, spec: Mapping[str, str]) -> Iterable[str]:
    return spec_faults(spec)


def _file_faults(folder: Path, values: Mapping[str, str]) -> Iterator[str]:
    app = folder / values.get("source.dir", "app")
    services = [one.split(":")[1] for one in values.get("services", "").split(",") if ":" in one]
    wanted = [app / "main.py", *(app / one for one in services)]
    for key in ("android.extra_manifest_xml", "android.extra_manifest_application_arguments", "android.res_xml"):
        wanted.append(folder / values.get(key, ""))
    wanted += [folder / values.get("p4a.hook", ""), folder / "manifest" / "debug" / "AndroidManifest.xml"]
    wanted += [folder / "recipes" / name / "__init__.py" for name in LOCAL_RECIPES]
    for path in wanted:
        if not path.is_file():
            yield f"the file {path.relative_to(folder)} is missing"


def permissions_of(root: ElementTree.Element) -> set[str]:
    """Permissions that a manifest asks for; those that it takes away from libraries do not count."""
    asked = (one for one in root.iter() if one.tag.startswith("uses-permission"))
    return {one.get(f"{ANDROID}name", "") for one in asked if one.get(f"{TOOLS}node") != "remove"}


def _xml_faults(folder: Path, _spec: Mapping[str, str]) -> Iterator[str]:
    documents: dict[str, ElementTree.Element] = {}
    frames = {
        "manifest/extra.xml": (f"<manifest {XMLNS}>", "</manifest>"),
        "manifest/application.txt": (f"<application {XMLNS} ", " />"),
        "manifest/debug/AndroidManifest.xml": ("", ""),
        "res/xml/data_extraction_rules.xml": ("", ""),
    }
    for name, (before, after) in frames.items():
        try:
            text = before + (folder / name).read_text(encoding="utf-8") + after
            documents[name] = ElementTree.fromstring(text)  # noqa: S314 - written by ourselves a moment ago
        except (OSError, ElementTree.ParseError):
            yield f"{name} is no XML"
    for name, root in documents.items():
        for permission in sorted(permissions_of(root) - {MICROPHONE}):
            yield f"{name} asks for the permission {permission}"
        for one in root.iter():
            if one.tag in ("service", "receiver", "provider") and one.get(f"{ANDROID}exported") != "false":
                yield f"{name} opens a {one.tag} to other apps"
            if one.get(f"{ANDROID}foregroundServiceType"):
                yield f"{name} has a foreground service, which needs a permission"
    application = documents.get("manifest/application.txt")
    for key, value in _WANTED_ATTRIBUTES.items() if application is not None else ():
        if application is not None and application.get(f"{ANDROID}{key}") != value:
            yield f"the application's {key} is not {value}"
    rules = documents.get("res/xml/data_extraction_rules.xml")
    for kind in ("cloud-backup", "device-transfer") if rules is not None else ():
        part = rules.find(kind) if rules is not None else None
        excluded = {one.get("domain") for one in part.iter("exclude")} if part is not None else set()
        if not {"root", "file", "database", "sharedpref", "external"} <= excluded:
            yield f"{kind} does not leave everything out"
    debug = documents.get("manifest/debug/AndroidManifest.xml")
    if debug is not None and ACTION not in {one.get(f"{ANDROID}name") for one in debug.iter("action")}:
        yield "the debug manifest does not take the intent of a verification"


def _python_faults(folder: Path, _spec: Mapping[str, str]) -> Iterator[str]:
    trees: Trees = {}
    for path in sorted(folder.rglob("*.py")):
        if _tree(path, trees) is None:
            yield f"{path.relative_to(folder)} does not compile"
    provided = {name for _, names in RECIPES.values() for name in names}
    provided |= {name for names in LOCAL_RECIPES.values() for name in names}
    for module, importers in walk_imports(folder / "app", trees).items():
        top = module.partition(".")[0]
        if top in provided or top in sys.stdlib_module_names or top in LEFT_OUT or module in LEFT_OUT:
            continue
        yield f"{importers} imports {module}, which an Android app does not have"


Trees = dict[Path, ast.Module | None]


def _tree(path: Path, trees: Trees) -> ast.Module | None:
    """The file, parsed once; None where it is no Python."""
    if path not in trees:
        try:
            trees[path] = ast.parse(path.read_bytes(), path.name)
        except (SyntaxError, ValueError):
            trees[path] = None
    return trees[path]


def walk_imports(app: Path, trees: Trees | None = None) -> dict[str, str]:
    """Modules that the entry points reach and that are not in the project, each with a file that imports it.

    Imports of edge are followed anywhere, functions included. Of a library only what runs when it is imported is
    followed, and a failed import that the library itself expects is none: it has a way around.
    """
    seen: set[Path] = set()
    outside: dict[str, str] = {}
    known: Trees = {} if trees is None else trees
    todo = [app / name for name in ENTRIES]
    while todo:
        path = todo.pop()
        if path in seen or not path.is_file():
            continue
        seen.add(path)
        own = path.is_relative_to(app / "edge") or path.parent == app
        tree = _tree(path, known)
        for name in sorted(_imported(tree, path, app, everywhere=own)) if tree is not None else ():
            if own and name.startswith(_BUILD_ROOMS):
                outside.setdefault(name, path.relative_to(app).as_posix())
            elif found := _find(app, name):
                todo += found
            else:
                outside.setdefault(name, path.relative_to(app).as_posix())
    return outside


def _find(app: Path, name: str) -> list[Path]:
    """The files of a module inside the project, its packages' too; empty when its first part is not there."""
    parts = name.split(".")
    found = []
    for count in range(1, len(parts) + 1):
        place = app.joinpath(*parts[:count])
        found += [path for path in (place / "__init__.py", place.with_name(f"{place.name}.py")) if path.is_file()]
    first = app / parts[0]
    return found if found or not first.is_dir() else [first / "__init__.py"]


def _imported(tree: ast.AST, path: Path, app: Path, *, everywhere: bool) -> set[str]:
    package = list(path.relative_to(app).parent.parts)
    found: set[str] = set()
    for node in _statements(tree, everywhere):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found |= {inner for alias in node.names if _find(app, inner := f"{module}.{alias.name}")[1:]}
    return found - {""}


def _statements(tree: ast.AST, everywhere: bool) -> Iterator[ast.AST]:
    """Statements that run at import; with `everywhere` also those in functions. A type checker's own are left out.

    Of a library an import under `try`, `with` or `if` is left too: it has a way around, or the library would not
    import here either.
    """
    skipped = () if everywhere else (ast.FunctionDef, ast.AsyncFunctionDef, ast.Try, ast.With, ast.If)
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, skipped) or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)):
            continue
        yield node
        for block in ("body", "orelse", "finalbody", "handlers", "cases"):
            found = getattr(node, block, ())
            todo += found if isinstance(found, list) else ()  # a lambda's or a condition's is an expression


def _asset_faults(folder: Path, _spec: Mapping[str, str]) -> Iterator[str]:
    assets = folder / "assets"

    def pieces(name: str) -> Iterator[bytes]:
        yield (assets / name).read_bytes()

    try:
        index: AssetIndex = read_index(pieces)
    except EdgeError as error:
        yield f"the assets have no index ({error.what})"
        return
    for one in index.files if index.carried else ():
        digest, size = hashlib.sha256(), 0
        try:
            for part in one.parts:
                data = (assets / FOLDER / part).read_bytes()
                digest.update(data)
                size += len(data)
        except OSError:
            size = -1
        if (size, digest.hexdigest()) != (one.size_bytes, one.sha256):
            yield f"the asset {one.path} is not the bundle's"
    if not any(key.role == "builder" for key in index.keys):
        yield "the app would trust no builder"


RULES: Final[dict[str, Callable[[Path, Mapping[str, str]], Iterable[str]]]] = {
    "spec": _spec_faults,
    "files": _file_faults,
    "xml": _xml_faults,
    "python": _python_faults,
    "assets": _asset_faults,
}
