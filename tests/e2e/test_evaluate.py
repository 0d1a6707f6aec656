"""`edge evaluate` on a built bundle, as a user types it: figures, files, resume, comparison, and nothing of a visit."""

from __future__ import annotations

import csv
import json

from edge.errors import ExitStatus
from tests.e2e.world import World

DIALOGUE = (
    "[doctor] hi , what brings you in today ?\n[patient] my left eye is red and it hurts since monday .\n"
    "[doctor] any change of vision ?\n[patient] no .\n[doctor] we start one drop of timolol in the evening ."
)
NOTE = "CHIEF COMPLAINT\n\nRed, painful left eye since Monday.\n\nPLAN\n\nTimolol, one drop in the evening."


def visits(world: World) -> None:
    """Two visits in ACI-Bench's columns."""
    with (world.root / "visits.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["dataset", "encounter_id", "dialogue", "note"])
        writer.writerows([["ours", name, DIALOGUE, NOTE] for name in ("V1", "V2")])


def test_notes_are_measured_resumed_and_compared(world: World) -> None:
    """If not: the numbers of the README cannot be made by the command that stands beside them."""
    visits(world)
    command = ("evaluate", "out/tiny", "notes", "--data", "visits.csv")
    first = world.edge(*command, "--limit", "1", "--json", "first.json", "--html", "r.html", "--keep-outputs", "kept")
    assert first.status == ExitStatus.OK, first.err
    assert "ROUGE-1" in first.out
    assert "not measured" in first.out
    result = json.loads((world.root / "first.json").read_bytes())
    assert result["data"]["evaluated"] == 1
    figures = {figure["name"]: figure for figure in result["figures"]}
    assert figures["evidence_outside"]["value"] == 0
    assert (world.root / "r.html").is_file()
    for path in [world.root / "first.json", *(world.root / "cache" / "evaluate").iterdir()]:
        assert "timolol" not in path.read_text(encoding="utf-8").lower()
    again = world.edge(*command, "--limit", "1", "--outputs", "kept", "--fresh", "--baseline", "first.json")
    assert again.status == ExitStatus.OK, again.err
    assert "Against the baseline" in again.out


def test_mistakes_are_one_line(world: World) -> None:
    """If not: a mistyped suite or a broken file costs a night or ends in a traceback."""
    visits(world)
    (world.root / "broken.csv").write_text("dataset,encounter_id,dialogue,note\na,1,hello\n", encoding="utf-8")
    for arguments, words in (
        (("evaluate", "out/tiny", "note", "--data", "visits.csv"), "no suite 'note'"),
        (("evaluate", "out/tiny", "diagnosis", "--data", "visits.csv"), "use --suite notes"),
        (("evaluate", "out/tiny", "--suite", "notes", "--data", "broken.csv"), "row 2 has 3 fields"),
    ):
        said = world.edge(*arguments)
        assert said.status == ExitStatus.INPUT
        assert words in said.err
        assert len(said.errors) == 1
