"""What python-for-android brings, what is copied into the project, and what an Android app does without.

The versions are those of the recipes of one release; a newer release has others, which is why the project builds with
just this one. Three kinds of imports have no recipe there:

- pure Python: copied from this installation, files as they are, licences beside them (VENDORED);
- Rust without a recipe upstream: llguidance has one in the project, which nobody has built yet (LOCAL_RECIPES);
- everything else stays away, and what needs it refuses in one line or has something else in its place (LEFT_OUT).
"""

from __future__ import annotations

from typing import Final

P4A: Final = "2026.5.9"
BUILDOZER: Final = "1.6.0"
NDK: Final = "28c"
ANDROID_API: Final = 35
LEAST_API: Final = 24
ARCH: Final = "arm64-v8a"

# name in `requirements` -> (version as the recipe writes it, or "" for a recipe without one; what it is imported as).
RECIPES: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "python3": ("3.14.2", ()),
    "hostpython3": ("3.14.2", ()),
    "kivy": ("2.3.1", ("kivy",)),
    "pyjnius": ("1.7.0", ("jnius",)),
    "android": ("", ("android",)),
    "numpy": ("v2.3.0", ("numpy",)),
    "cryptography": ("46.0.3", ("cryptography",)),
    "sqlite3": ("3.50.4", ()),
    "Pillow": ("11.3.0", ("PIL",)),
}
# Distribution -> what it is imported as.
LOCAL_RECIPES: Final[dict[str, tuple[str, ...]]] = {"llguidance": ("llguidance",)}

# Distribution -> package folder. All have a plain-Python way for each compiled part.
VENDORED: Final[dict[str, str]] = {
    "PyYAML": "yaml",
    "Jinja2": "jinja2",
    "MarkupSafe": "markupsafe",
    "platformdirs": "platformdirs",
    "RapidFuzz": "rapidfuzz",
    "reportlab": "reportlab",
    "charset-normalizer": "charset_normalizer",
}
# What stays here: compiled for this machine, of no use to a program, or under a licence that would bind the app.
NOT_VENDORED: Final = (".so", ".pyd", ".pyi", ".c", ".pyx", ".pxd", ".h", ".typed", ".pyc")
NOT_VENDORED_FOLDERS: Final = ("__pycache__", "__pyinstaller", "tests", "cli")
NOT_VENDORED_NAMES: Final = ("darkgarden", "callig15", "pytest_plugin")

# Import -> what happens on the device without it.
LEFT_OUT: Final[dict[str, str]] = {
    "tokenizers": "edge.runtime.bpe_tokenizer, plain Python, gives the same ids",
    "onnxruntime": "edge.runtime.android_engine, ONNX Runtime's Java API through pyjnius",
    "tvm_ffi": "bundles for the tvm engine are not packed for Android",
    "sqlcipher3": "the row vault: AES-GCM in every cell over Python's sqlite3",
    "fhir": "a FHIR export is refused in one line; the PDF is there",
    "pydantic": "only the check of a FHIR export imports it",
    "pydantic_core": "only the check of a FHIR export imports it",
    "faster_whisper": "no speech recogniser; notes are drafted from typed or pasted text",
    "rich": "only command lines draw with it",
    "click": "only command lines use it",
    "yaml._yaml": "YAML is read in plain Python, some tenths of a second slower at the start",
    "psutil": "only command lines and tests use it",
}


def requirements(llguidance: str, *, fhir: bool = False) -> tuple[str, ...]:
    """The project's `requirements`. llguidance: its version; fhir: also what a FHIR export is checked with."""
    found = [f"{name}=={version}" if version else name for name, (version, _) in RECIPES.items()]
    found.append(f"llguidance=={llguidance}")
    return (*found, *FHIR) if fhir else tuple(found)


# Pure Python by pip, but for pydantic-core, whose recipe fixes pydantic's version. Never built, hence not the default.
FHIR: Final = (
    "pydantic-core==2.41.4",
    "pydantic==2.12.3",
    "annotated-types",
    "typing-extensions",
    "typing-inspection",
    "fhir-core",
    "fhir.resources",
)
