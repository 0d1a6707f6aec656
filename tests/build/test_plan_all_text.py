"""The overview as a person reads it, and docs/targets.md, which must never say something else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge.build.plan_all import MODELS, STATEMENT, plan_everything
from edge.build.plan_all_text import (
    BEGIN,
    END,
    between_markers,
    model_notes,
    model_table,
    published_table,
    render_markdown,
    render_text,
    write_document,
)
from edge.cli import cli
from edge.errors import SpecError

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "targets.md"
OVERVIEW = plan_everything(ROOT / "profiles")


def test_the_document_is_what_the_command_prints() -> None:
    """A stale table is a false one: run `edge plan --all --markdown --into docs/targets.md`."""
    assert between_markers(DOCUMENT)[1] == render_markdown(OVERVIEW)


def test_the_document_says_for_every_target_how_it_was_verified() -> None:
    """A target without a row could be taken for a proven one."""
    written = between_markers(DOCUMENT)[0]
    for target in OVERVIEW.targets:
        for backend in ("onnx", "mlc"):
            assert re.search(rf"^\| {re.escape(target)} \| {backend} \|", written, re.MULTILINE)


def test_both_forms_say_first_that_nothing_was_measured() -> None:
    """Computed numbers beside published ones are easily taken for ours."""
    for text in (render_text(OVERVIEW), render_markdown(OVERVIEW)):
        assert text.startswith(STATEMENT)
        assert "Nothing in these tables was measured" in text
        assert "arithmetic only" in text
        assert text.endswith("\n")
        assert not any(line.endswith(" ") for line in text.splitlines())
        for model in MODELS:
            assert model.title in text


def test_tables_are_whole_markdown() -> None:
    """A cell too many breaks the page from there on."""
    tables = [model_table(OVERVIEW, model) for model in MODELS]
    for table in [*tables, published_table(OVERVIEW)]:
        widths = {line.count(" | ") for line in table.markdown().splitlines()}
        assert widths == {len(table.head) - 1}
        assert not any("|" in cell for row in table.rows for cell in row)
        assert len({len(row) for row in (table.head, *table.rows)}) == 1


def test_near_and_derived_speeds_are_marked_where_they_stand() -> None:
    """A flagship's speed in a tablet's row, unmarked, would be a promise."""
    rows = {(row[0], row[1]): row for row in model_table(OVERVIEW, MODELS[0]).rows}
    assert rows["android-arm64", "onnx"][-1].startswith("~19.2 [")
    assert rows["raspberry-pi-5", "onnx"][-1].startswith("11 to 14 (derived) [")
    assert rows["raspberry-pi-5", "mlc"][-1] == ""
    assert rows["x86_64-linux", "onnx"][-1] == ""
    for row, anchor in zip(published_table(OVERVIEW).rows, OVERVIEW.anchors, strict=True):
        assert (row[-2].startswith("near: ")) == anchor.near
        assert ("not read again" in row[-1]) == (not anchor.rechecked)


def test_numbers_in_rows_lead_to_the_list() -> None:
    """[7] must be the seventh of the list."""
    listed = {row[0]: row for row in published_table(OVERVIEW).rows}
    for model in MODELS:
        for row in model_table(OVERVIEW, model).rows:
            for number in re.findall(r"\[\d+\]", row[-1]):
                assert listed[number][1] == row[0]
                assert listed[number][2] == model.title


def test_a_note_is_said_once_with_its_rows() -> None:
    """Notes repeated in fourteen rows are read by nobody; a note without its rows is about nothing."""
    for model in MODELS:
        lines = model_notes(OVERVIEW, model)
        notes = {note for cell in OVERVIEW.of(model.key) for note in cell.plan.notes}
        assert len(lines) == len(notes)
        assert all(any(line.endswith(note) for line in lines) for note in notes)
    assert "raspberry-pi-4: no dot product" in "\n".join(model_notes(OVERVIEW, MODELS[0]))
    assert "backend mlc: arithmetic only: mlc has no gpt-oss model" in model_notes(OVERVIEW, MODELS[2])


def test_a_folder_of_other_profiles_is_shown_too(tmp_path: Path) -> None:
    """Without any of the kit's models there are still the profiles, and no speeds of models that are not there."""
    (tmp_path / "profiles").mkdir()
    (tmp_path / "targets").symlink_to(ROOT / "targets")
    text = (ROOT / "profiles" / "reference-base.yaml").read_text(encoding="utf-8")
    (tmp_path / "profiles" / "reference-base.yaml").write_text(text, encoding="utf-8")
    shown = render_text(plan_everything(tmp_path / "profiles"))
    assert "reference-base" in shown
    assert "Speeds that others published" not in shown


def test_writing_keeps_what_a_person_wrote(tmp_path: Path) -> None:
    """Bringing the page up to date must not touch the rest of it."""
    path = tmp_path / "page.md"
    path.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n", encoding="utf-8")
    write_document(OVERVIEW, path)
    assert path.read_text(encoding="utf-8") == f"before\n{BEGIN}\n{render_markdown(OVERVIEW)}{END}\nafter\n"
    again = path.read_bytes()
    write_document(OVERVIEW, path)
    assert path.read_bytes() == again
    assert [item.name for item in tmp_path.iterdir()] == ["page.md"]


@pytest.mark.parametrize(
    "text", ["nothing\n", f"{BEGIN}\n", f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n", f"{BEGIN}\n{END}{END}\n"]
)
def test_a_page_without_its_markers_is_left_alone(tmp_path: Path, text: str) -> None:
    """Without both markers nobody knows what may be replaced."""
    path = tmp_path / "page.md"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="does not hold the two marker lines"):
        write_document(OVERVIEW, path)
    assert path.read_text(encoding="utf-8") == text
    with pytest.raises(SpecError, match="cannot be read as UTF-8 text"):
        write_document(OVERVIEW, tmp_path / "none.md")


@pytest.mark.parametrize(
    ("arguments", "start"), [([], STATEMENT), (["--markdown"], STATEMENT), (["--json"], '{\n "computed": true')]
)
def test_the_command(monkeypatch: pytest.MonkeyPatch, arguments: list[str], start: str) -> None:
    """`edge plan --all` in its three forms."""
    monkeypatch.chdir(ROOT)
    done = CliRunner().invoke(cli, ["plan", "--all", *arguments])
    assert done.exit_code == 0
    assert done.output.startswith(start)


@pytest.mark.parametrize(
    "arguments", [[], ["--markdown"], ["--all", "--into", "x.md"], ["--all", "--markdown", "--json"]]
)
def test_options_that_do_not_go_together(arguments: list[str]) -> None:
    """A misused option is a usage error, not a table somewhere else."""
    assert CliRunner().invoke(cli, ["plan", *arguments]).exit_code == 2
