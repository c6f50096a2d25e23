"""SQLAlchemy classes, one file per aggregate."""

from service.tables.actor import Client, Credential, Officer, PageSession
from service.tables.audit import AuditEvent
from service.tables.base import Base, UtcDateTime, now
from service.tables.case import Case, CaseCandidate, Conclusion, Decision
from service.tables.check import Check, CheckSearch
from service.tables.gallery import CalibrationRecord, GalleryChange, GalleryHead
from service.tables.notice import Notice
from service.tables.person import Person, Portrait, Template

__all__ = [
    "AuditEvent",
    "Base",
    "CalibrationRecord",
    "Case",
    "CaseCandidate",
    "Check",
    "CheckSearch",
    "Client",
    "Conclusion",
    "Credential",
    "Decision",
    "GalleryChange",
    "GalleryHead",
    "Notice",
    "Officer",
    "PageSession",
    "Person",
    "Portrait",
    "Template",
    "UtcDateTime",
    "now",
]
