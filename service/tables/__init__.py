"""SQLAlchemy classes, one file per aggregate."""

from service.tables.account import KnownBrowser, LocalAccount, RecoveryCode
from service.tables.actor import Client, Credential, Officer, PageSession
from service.tables.audit import AuditArchive, AuditEvent, AuditHead
from service.tables.base import Base, UtcDateTime, now
from service.tables.case import Case, CaseCandidate, Conclusion, Decision
from service.tables.check import Check, CheckSearch
from service.tables.desk import Appeal, Attachment, Draft
from service.tables.encryption import DataKey, EncryptionState
from service.tables.erasure import Erasure
from service.tables.gallery import CalibrationRecord, GalleryChange, GalleryHead, PackSwitch
from service.tables.look import CaseLook
from service.tables.notice import Notice, NoticeDelivery, NoticeTarget
from service.tables.person import Person, Portrait, Template
from service.tables.register import PersonFlagEvent, RegisterEntry, Visit
from service.tables.statistics import ClosedMonth, ClosedMonthRow

__all__ = [
    "Appeal",
    "Attachment",
    "AuditArchive",
    "AuditEvent",
    "AuditHead",
    "Base",
    "CalibrationRecord",
    "Case",
    "CaseCandidate",
    "CaseLook",
    "Check",
    "CheckSearch",
    "Client",
    "ClosedMonth",
    "ClosedMonthRow",
    "Conclusion",
    "Credential",
    "DataKey",
    "Decision",
    "Draft",
    "EncryptionState",
    "Erasure",
    "GalleryChange",
    "GalleryHead",
    "KnownBrowser",
    "LocalAccount",
    "Notice",
    "NoticeDelivery",
    "NoticeTarget",
    "Officer",
    "PackSwitch",
    "PageSession",
    "Person",
    "PersonFlagEvent",
    "Portrait",
    "RecoveryCode",
    "RegisterEntry",
    "Template",
    "UtcDateTime",
    "Visit",
    "now",
]
