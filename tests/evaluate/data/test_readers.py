"""Every form is told from its columns, read whole, or refused in one line that names row and column."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.errors import InputError
from edge.evaluate.data.cases import ChoiceCase, DiagnosisCase, JudgeCase, NoteCase
from edge.evaluate.data.published import read_published, run_columns
from edge.evaluate.data.sniff import read_cases
from tests.evaluate.conftest import NOTE, VISIT, write_csv


def test_aci_bench(aci_file: Path) -> None:
    """Texts exactly as in the file, ids and subsets; age and sex from the metadata file beside it."""
    meta = [{"encounter_id": "V1", "patient_gender": "female", "patient_age": "58"}]
    write_csv(aci_file.with_name("visits_metadata.csv"), meta)
    form, cases = read_cases(aci_file)
    assert form.name == "ACI-Bench"
    first, second = cases[0], cases[1]
    assert isinstance(first, NoteCase) and isinstance(second, NoteCase)
    assert (first.id, first.source, first.reference, first.subset) == ("V0", VISIT, NOTE, "other")
    assert (dict(first.context), dict(second.context)) == ({}, {"sex": "female", "age": "58"})


def test_mts_dialog(tmp_path: Path) -> None:
    """Its sections become notes, the header's short form words."""
    row = {"ID": "0", "section_header": "GENHX", "section_text": "Cough.", "dialogue": "Doctor: Cough?\nPatient: Yes."}
    form, cases = read_cases(write_csv(tmp_path / "a.csv", [row]))
    case = cases[0]
    assert isinstance(case, NoteCase)
    assert (form.suite, case.reference, case.subset) == ("notes", "Cough.", "history of present illness")


def test_dxbench_gives_no_hint_by_order(dx_file: Path) -> None:
    """The truth is listed first in most of DxBench: in file order a model could learn the place."""
    form, cases = read_cases(dx_file)
    case = cases[0]
    assert isinstance(case, DiagnosisCase)
    assert form.name == "DxBench"
    assert case.candidates == ("Cerumen Impaction", "Mastoiditis", "Otitis Media")
    assert (case.present, case.absent, case.answer) == (("ear pain", "fever"), ("vomiting",), "Otitis Media")
    assert case.split in ("train", "valid", "test")


def test_multiple_choice_forms(mcq_file: Path, tmp_path: Path) -> None:
    """Options keep their letters; several right letters stay a set."""
    _, cases = read_cases(mcq_file)
    first = cases[0]
    assert isinstance(first, ChoiceCase)
    assert (first.id, first.answer, list(first.options)) == ("1", ("A", "C"), ["A", "B", "C"])
    line = {
        "id": "x",
        "question": "Ring in Wilson disease:\nAnswer Choices: (A) Fleischer (B) Kayser (C) Landolt",
        "label": ["B"],
    }
    path = tmp_path / "m.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    _, cases = read_cases(path)
    second = cases[0]
    assert isinstance(second, ChoiceCase)
    assert second.stem == "Ring in Wilson disease:"
    assert second.options == {"A": "Fleischer", "B": "Kayser", "C": "Landolt"}


def test_imedqa_and_agentclinic(tmp_path: Path) -> None:
    """Text cases: context and question, or the station without its answer."""
    question = {
        "id": 3,
        "question": "Cause?",
        "context": ["A man has a cough."],
        "options": {"A": "Pertussis", "B": "Asthma"},
        "answer_idx": "B",
    }
    path = tmp_path / "i.jsonl"
    path.write_text(json.dumps(question) + "\n\n", encoding="utf-8")
    case = read_cases(path)[1][0]
    assert isinstance(case, DiagnosisCase)
    assert (case.text, case.candidates, case.answer) == ("A man has a cough. Cause?", ("Asthma", "Pertussis"), "Asthma")
    station = {"Patient_Actor": {"History": "weak arms"}, "Test_Results": {}, "Correct_Diagnosis": "Myasthenia gravis"}
    path.write_text(json.dumps({"OSCE_Examination": station}) + "\n", encoding="utf-8")
    case = read_cases(path)[1][0]
    assert isinstance(case, DiagnosisCase)
    assert (case.text, case.answer) == ("History: History: weak arms", "Myasthenia gravis")
    assert "Myasthenia" not in case.text


def test_judge_file_drops_the_spreadsheet_and_keeps_gaps(judge_file: Path) -> None:
    """Leftover rows are no cases; a missing score stays missing."""
    _, cases = read_cases(judge_file)
    first = cases[0]
    assert isinstance(first, JudgeCase)
    assert len(cases) == 2
    assert (first.id, first.human_score, first.answer_text) == ("row-2", 4.25, "1. Otitis media")
    assert first.case_text.startswith("Diagnosis Task")
    published = read_published(judge_file, "HumanEvalScore")
    assert published.runs["m one"] == (("4", "3"), ("4.5", None), ("5", "3.5"))


def test_run_columns_by_every_spelling() -> None:
    """The published files name their runs in three ways."""
    header = ["GT", "gpt5-0807-m1", "gpt5-0807-m2", "deepseek-0528-v1", "oss20b (L) v1", "oss20b (L) v2"]
    assert run_columns(header) == {
        "gpt5-0807": ["gpt5-0807-m1", "gpt5-0807-m2"],
        "deepseek-0528": ["deepseek-0528-v1"],
        "oss20b (L)": ["oss20b (L) v1", "oss20b (L) v2"],
    }


BROKEN_CSV = [
    ("dataset,encounter_id,dialogue\na,1,d\n", "looks like ACI-Bench, but 'note' is missing"),
    ("dataset,encounter_id,dialogue,note\na,1,d\n", "row 2 has 3 fields, the header has 4"),
    ("dataset,encounter_id,dialogue,note\na,1,d,n\na,1,d,n\n", "row 3, column 'encounter_id' repeats"),
    ("dataset,encounter_id,dialogue,note\na,1,d,\n", "row 2, column 'note' is empty"),
    ("dataset,encounter_id,dialogue,note\na,,d,n\n", "row 2, column 'encounter_id' is empty"),
    ('dataset,encounter_id,dialogue,note\na,1,"d,n\n', "quoting is broken"),
    ("dataset,encounter_id,dialogue,note\n", "it has no rows"),
    ("dataset,encounter_id,dialogue,note,note\na,1,d,n,n\n", "column 'note' is there twice"),
    ("x,y\n1,2\n", "this form of data is not known"),
    ("", "this form of data is not known"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN_CSV)
def test_a_broken_csv_is_refused_by_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    """Half a data set, read in silence, would give figures of another data set."""
    path = tmp_path / "broken.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_cases(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def _dx(**change: object) -> str:
    case = {
        "id": "1",
        "explicit_symptoms": [["secret-symptom", "True"]],
        "implicit_symptoms": [],
        "candidate_diseases": ["A", "B"],
        "disease": "A",
    }
    return json.dumps([case | change])


BROKEN_JSON = [
    (_dx(disease="C"), "row 1, column 'disease' is not among the candidates"),
    (_dx(explicit_symptoms=[["secret-symptom", "Perhaps"]]), "column 'explicit_symptoms' holds a state"),
    (_dx(explicit_symptoms=[["secret-symptom"]]), "column 'explicit_symptoms' holds an entry"),
    (_dx(implicit_symptoms="secret-symptom"), "column 'implicit_symptoms' is not a list"),
    (_dx(candidate_diseases=[1]), "column 'candidate_diseases' is not a list of names"),
    (_dx(id=None), "column 'id' is empty"),
    (_dx()[:-1] + ", 3]", "row 2 is not an object"),
    (_dx()[:-1], "this form of data is not known"),
    ('[{"id": 1, "stem": "s", "options": {"A": "x", "B": "y"}, "answer": ["C"]}]', "column 'answer' is not one"),
    ('[{"id": 1, "stem": "s", "options": {"A": "x"}, "answer": ["A"]}]', "column 'options' is not two or more"),
    ('{"id": 1, "question": "no list", "label": ["A"]}', "column 'question' has no list of choices"),
    ('{"id": 1, "question": "q", "context": ["c"], "options": {"A": "x"}, "answer_idx": "B"}', "'answer_idx' is not"),
    ('{"OSCE_Examination": {"Correct_Diagnosis": ""}}', "column 'Correct_Diagnosis' is empty"),
    ('{"OSCE_Examination": {"Correct_Diagnosis": "X"}}\n{', "row 2 is not valid JSON"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN_JSON)
def test_broken_json_is_refused_without_its_contents(tmp_path: Path, text: str, message: str) -> None:
    """The message names row and key and never what a patient said."""
    path = tmp_path / "broken.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_cases(path)
    assert message in str(caught.value)
    assert "secret" not in str(caught.value)


def test_files_that_are_not_text_or_not_there(tmp_path: Path) -> None:
    """One line each, no traceback."""
    path = tmp_path / "x.csv"
    with pytest.raises(InputError, match="no such file"):
        read_cases(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_cases(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_cases(tmp_path)


def test_a_deep_nest_is_no_crash(tmp_path: Path) -> None:
    """A hostile file ends in one line too."""
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000, encoding="utf-8")
    with pytest.raises(InputError):
        read_cases(path)


COUNTS = [
    ("aci-bench/train.csv", 67),
    ("aci-bench/valid.csv", 20),
    ("aci-bench/clinicalnlp_taskB_test1.csv", 40),
    ("mts-dialog/MTS-Dialog-TrainingSet.csv", 1201),
    ("dxbench/DxBench_en.dev.json", 573),
    ("dxbench/Dxy_en.json", 104),
    ("ophthalmology/ophthalmology_mcq.dev.json", 65),
    ("ophthalmology/medmcqa_ophthalmology_58.jsonl", 58),
    ("mediq/imedqa.jsonl", 1272),
    ("agentclinic-medqa/agentclinic_medqa.jsonl", 107),
    ("published-predictions/NMED_Diagnosis.csv", 720),
    ("published-predictions/NMED_Treatment.csv", 595),
]


@pytest.mark.parametrize(("name", "count"), COUNTS)
def test_the_public_data_sets_are_read_whole(data_sets: Path, name: str, count: int) -> None:
    """A reader that loses a case of a public set is wrong."""
    assert len(read_cases(data_sets / name)[1]) == count
