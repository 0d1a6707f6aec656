"""The sections of a note: the short label that the model writes, the heading that the reader sees, their order."""

from __future__ import annotations

# label in the model's lines -> heading in the note, in the note's order
SECTIONS: dict[str, str] = {
    "CC": "CHIEF COMPLAINT",
    "HPI": "HISTORY OF PRESENT ILLNESS",
    "HISTORY": "MEDICAL HISTORY",
    "SOCIAL": "SOCIAL AND FAMILY HISTORY",
    "MEDICATIONS": "MEDICATIONS",
    "ALLERGIES": "ALLERGIES",
    "ROS": "REVIEW OF SYSTEMS",
    "VITALS": "VITALS",
    "EXAM": "PHYSICAL EXAM",
    "RESULTS": "RESULTS",
    "ASSESSMENT": "ASSESSMENT",
    "PLAN": "PLAN",
}
# What the model writes when a part of the visit holds nothing for the note: an empty answer is an answer.
NOTHING = "NONE"
