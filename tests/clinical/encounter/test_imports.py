"""What the encounter pulls in: the screen's process imports it."""

from __future__ import annotations

import subprocess
import sys


def test_light() -> None:
    """The screen's process loads a runtime, a model's grammar or a table of conditions, and starts late."""
    code = (
        "import sys;"
        "from edge.clinical.encounter import acuity, case_text, checks, codec, edits, eye_fields, findings, flags;"
        "from edge.clinical.encounter import note_diff, summary, undo, vitals;"
        "from edge.clinical.encounter.model import Encounter, VisitText;"
        "enc = edits.set_visit(Encounter('e'), VisitText('no 5 mg', 'speech'), '2026-03-02T08:15:00Z');"
        "flags.flags(enc); findings.search('fever'); summary.summary(enc); codec.to_bytes(enc);"
        "heavy = {'onnxruntime', 'llguidance', 'tokenizers', 'numpy', 'pydantic', 'kivy', 'rapidfuzz',"
        " 'edge.clinical.drafting', 'edge.clinical.differential', 'edge.clinical.ophthalmology',"
        " 'edge.clinical.conditions', 'edge.app'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
