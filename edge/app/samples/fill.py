"""Sample patients into a worklist that is empty."""

from __future__ import annotations

from dataclasses import replace

from edge.app.i18n import tr
from edge.app.samples import load_sample, sample_names
from edge.app.workspace import Workspace


def fill_empty_worklist(workspace: Workspace) -> int:
    """Add every sample when the worklist has no patient. Returns how many were added."""
    if workspace.worklist():
        return 0
    new_id = workspace.services.new_id
    for name in sample_names():
        made = load_sample(name, encounter_id=new_id(), now=workspace.now(), new_id=new_id)
        # In a list with real patients nobody may take a sample for one.
        patient = replace(made.patient, name=f"{made.patient.name} ({tr('worklist.sample')})")
        workspace.add(replace(made, patient=patient))
    return len(sample_names())
