"""Both catalogues say the same things, and say all that the pages ask for."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from string import Formatter
from typing import get_args

import pytest

from index.quality import QualityMark
from service.audit.kinds import AuditKind
from service.auth.service import Role
from service.checks.schemas import Outcome
from service.checks.search import UNKNOWN_PERSON
from service.language import LANGUAGES, catalogue
from service.notices.overview import Progress
from service.notices.queue import DeliveryState
from service.notices.sending import OUTCOMES
from service.notices.service import AcknowledgedVia, NoticeKind, NoticeState
from service.persons.enrolment import FLAGGED, NO_PORTRAIT, REGISTERED
from service.register import export as register_export
from service.register.flags import FlagEvent
from service.register.service import RegisterState
from service.review.appeals import AppealState
from service.review.kinship import Kinship
from service.review.opinion import CaseKind, CaseState, ConclusionKind, Stage
from service.statistics.figures import FIGURES, Level
from service.statistics.labels import LABELS
from service.web import pages
from service.web.cases import DONE
from service.web.navigation import DESTINATIONS
from service.web.notices import TOLD
from service.web.register import VISIT_FIELDS
from service.web.registrations import FIELDS
from service.web.statistics import CHARTS

WEB = Path(pages.__file__).parent
CODED: dict[str, Iterable[str]] = {
    "audit_kind.": AuditKind,
    "actor_kind.": ("client", "officer", "system"),
    "audit_result.": ("done", "refused", "intact", "damaged"),
    "state.": CaseState,
    "kind.": CaseKind,
    "conclusion.": ConclusionKind,
    "history.stage_": Stage,
    "notice_kind.": NoticeKind,
    "notice_state.": NoticeState,
    "notice_told.": TOLD,
    "progress.": Progress,
    "delivery_state.": DeliveryState,
    "delivery_outcome.": OUTCOMES,
    "acknowledged_via.": AcknowledgedVia,
    "role.": Role,
    "mark.": QualityMark,
    "mark_meaning.": QualityMark,
    "kinship.": [name for kind in Kinship for name in (kind, f"{kind}_text")],
    "gallery.": (FLAGGED, REGISTERED),
    "reason.": (UNKNOWN_PERSON, NO_PORTRAIT),
    "field.": FIELDS,
    "done.": DONE,
    "turn.": set(CaseState) - {CaseState.UNDER_REVIEW, CaseState.AWAITING_SECOND_OFFICER},
    "manual.": ("cleared", "undetermined"),
    "navigation.": [item.key for item in DESTINATIONS],
    "register_state.": RegisterState,
    "register_column.": register_export.COLUMNS,
    "register_fault.": VISIT_FIELDS,
    "flag_event.": FlagEvent,
    "outcome.": get_args(Outcome),
    "figure.": FIGURES,
    "level.": Level,
    "report.": LABELS,
    "chart.": CHARTS,
    "appeal_state.": AppealState,
    "difference.": ("same", "different", "shown_same", "unknown"),
}


def test_catalogues_have_the_same_keys() -> None:
    chinese, english = (set(catalogue(language)) for language in LANGUAGES)
    assert chinese == english


def test_texts_take_the_same_values_in_both_languages() -> None:
    def values(text: str) -> set[str]:
        return {name for _, name, _, _ in Formatter().parse(text) if name is not None}

    chinese, english = (catalogue(language) for language in LANGUAGES)
    assert [key for key in chinese if values(chinese[key]) != values(english[key])] == []


def test_no_text_is_empty_or_left_in_the_other_language() -> None:
    han = re.compile(r"[\u4e00-\u9fff]")
    chinese, english = (catalogue(language) for language in LANGUAGES)
    assert [key for key, text in english.items() if not text.strip() or han.search(text)] == []
    assert [
        key
        for key, text in chinese.items()
        if not han.search(text) and re.search(r"[A-Za-z]", re.sub(r"{.*?}", "", text))
    ] == []


@pytest.mark.parametrize("prefix", CODED)
def test_every_code_has_its_word(prefix: str) -> None:
    assert [code for code in CODED[prefix] if f"{prefix}{code}" not in catalogue("en")] == []


def test_every_text_that_templates_and_code_ask_for_exists() -> None:
    asked = set()
    for template in (WEB / "templates").glob("*.html"):
        asked |= set(re.findall(r"'([a-z_]+\.[a-z_]+)'", template.read_text(encoding="utf-8")))
    for module in WEB.glob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                asked |= set(re.findall(r"^[a-z_]+\.[a-z_]*[a-z]$", node.value))
    files = {name for name in asked if name.endswith((".html", ".css", ".svg", ".js"))}
    assert len(asked) > 100
    assert sorted(key for key in asked - files if key not in catalogue("en")) == []


@pytest.mark.parametrize("template", sorted((WEB / "templates").glob("*.html")), ids=lambda path: path.name)
def test_templates_hold_no_words_of_their_own(template: Path) -> None:
    """Else a page would show them in one language only, and look translated to every other test."""
    asked = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", " ", template.read_text(encoding="utf-8"), flags=re.DOTALL)
    said = re.findall(r'(?:title|alt|aria-label)="([^"]*)"', asked)
    said.append(re.sub(r'<[^>]*>|[a-z-]+="[^"]*"', " ", asked))  # Attributes stand alone in macros.
    assert [word for text in said for word in re.findall(r"[^\W\d_]{2,}", text)] == []


def test_every_text_is_used() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in [*WEB.glob("*.py"), *(WEB / "templates").glob("*.html")]
    )
    kept = (*CODED, "problem.", "invalid.", "problem_page.", "done.", "turn.", "refusal.")
    unused = [key for key in catalogue("en") if key not in sources and not key.startswith(kept)]
    assert unused == []


def test_chinese_texts_use_chinese_punctuation() -> None:
    chinese = {
        key: text for key, text in catalogue("zh-CN").items() if not key.startswith(("problem.", "invalid."))
    }
    assert [key for key, text in chinese.items() if re.search(r"[\u4e00-\u9fff][,;:()]", text)] == []
