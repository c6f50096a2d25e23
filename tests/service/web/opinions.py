"""Opinions as officers type them."""

Typed = dict[str, str]

SAME: Typed = {
    "conclusion_1": "same_person",
    "reason_1": "Same parents and the same scar.",
    "evidence_kind_1_1": "document",
    "evidence_reference_1_1": "Birth record 1987/214",
    "registration_2": "C-1",
}
DIFFERENT: Typed = {"conclusion_1": "different_person", "reason_1": "Met both in person."}
UNDETERMINED: Typed = {"conclusion_1": "undetermined", "reason_1": "Papers are missing."}
MANUAL: Typed = {
    "conclusion_manual": "cleared",
    "reason_manual": "Known to the village for forty years.",
    "evidence_kind_manual_1": "visit",
    "evidence_reference_manual_1": "Visit of 2026-02-01",
}
