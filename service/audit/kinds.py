"""What is recorded: the closed list of kinds of audit events."""

from enum import StrEnum


class AuditKind(StrEnum):
    """The closed list of what is recorded; each has its word in `web/locale/*/audit.toml`."""

    # Registrations.
    PERSON_STORED = "person-stored"
    PERSON_READ = "person-read"
    PERSON_VIEWED = "person-viewed"
    PERSON_ERASED = "person-erased"
    PERSON_SEARCHED = "person-searched"
    ID_NUMBER_OPENED = "id-number-opened"
    PORTRAIT_VIEWED = "portrait-viewed"
    LEVEL_CODE_CHANGED = "level-code-changed"
    REGISTER_VIEWED = "register-viewed"
    REGISTER_CHANGED = "register-changed"
    REGISTER_EXPORTED = "register-exported"
    VISIT_PLANNED = "visit-planned"
    VISIT_RECORDED = "visit-recorded"
    APPEAL_RECORDED = "appeal-recorded"

    # Checks.
    CHECK_MADE = "check-made"
    CHECK_REFUSED = "check-refused"
    CHECK_READ = "check-read"
    CHECK_WITHDRAWN = "check-withdrawn"

    # Cases.
    CASE_OPENED = "case-opened"
    CASES_LISTED = "cases-listed"
    CASE_VIEWED = "case-viewed"
    SCORES_OPENED = "scores-opened"
    CASE_CLAIMED = "case-claimed"
    CASE_RELEASED = "case-released"
    CASE_ASSIGNED = "case-assigned"
    CASE_TRANSFERRED = "case-transferred"
    CASE_NOTED = "case-noted"
    CASE_DECIDED = "case-decided"
    CASE_CONFIRMED = "case-confirmed"
    CASE_REOPENED = "case-reopened"
    CASE_WITHDRAWN = "case-withdrawn"
    CASE_PRINTED = "case-printed"
    CASE_EXPORTED = "case-exported"
    EVIDENCE_ADDED = "evidence-added"
    EVIDENCE_VIEWED = "evidence-viewed"
    EVIDENCE_REMOVED = "evidence-removed"

    # Notices.
    NOTICES_LISTED = "notices-listed"
    NOTICE_VIEWED = "notice-viewed"
    NOTICE_ISSUED = "notice-issued"
    NOTICE_DELIVERED = "notice-delivered"
    NOTICE_DELIVERY_FAILED = "notice-delivery-failed"
    NOTICE_RESENT = "notice-resent"
    NOTICE_ACKNOWLEDGED = "notice-acknowledged"
    NOTICE_OVERDUE = "notice-overdue"
    LETTER_PRINTED = "letter-printed"
    WEBHOOK_CHANGED = "webhook-changed"

    # Figures.
    STATISTICS_VIEWED = "statistics-viewed"
    STATISTICS_EXPORTED = "statistics-exported"
    MONTH_FROZEN = "month-frozen"
    MONTH_RESTATED = "month-restated"

    # Sign-in and access.
    SIGNED_IN = "signed-in"
    SIGNED_OUT = "signed-out"
    SIGN_IN_FAILED = "sign-in-failed"
    SESSION_ENDED = "session-ended"
    ACCOUNT_LOCKED = "account-locked"
    ACCOUNT_UNLOCKED = "account-unlocked"
    ACCESS_REFUSED = "access-refused"
    RATE_LIMITED = "rate-limited"

    # Accounts.
    CLIENT_ADDED = "client-added"
    CLIENT_CHANGED = "client-changed"
    CLIENT_KEY_ROTATED = "client-key-rotated"
    CLIENT_REVOKED = "client-revoked"
    OFFICER_ADDED = "officer-added"
    OFFICER_CHANGED = "officer-changed"
    OFFICER_DISABLED = "officer-disabled"
    OFFICER_ENABLED = "officer-enabled"
    PASSWORD_CHANGED = "password-changed"  # noqa: S105 - the name of a kind
    PASSWORD_RESET = "password-reset"  # noqa: S105 - the name of a kind
    SECOND_FACTOR_SET = "second-factor-set"
    SECOND_FACTOR_REMOVED = "second-factor-removed"

    # Operation.
    IMPORT_RUN = "import-run"
    GALLERY_REBUILT = "gallery-rebuilt"
    GALLERY_ROLLED_BACK = "gallery-rolled-back"
    GALLERY_CALIBRATED = "gallery-calibrated"
    GALLERY_LINKED = "gallery-linked"
    PACK_ADDED = "pack-added"
    SETTINGS_CHANGED = "settings-changed"
    KEY_ROTATED = "key-rotated"
    BACKUP_MADE = "backup-made"
    FILES_COPIED = "files-copied"
    RESTORED = "restored"
    PROBE_ERASED = "probe-erased"
    EVIDENCE_ERASED = "evidence-erased"
    ORPHANS_ERASED = "orphans-erased"
    RETENTION_RUN = "retention-run"

    # The log itself.
    AUDIT_LISTED = "audit-listed"
    AUDIT_VIEWED = "audit-viewed"
    AUDIT_VERIFIED = "audit-verified"
    AUDIT_EXPORTED = "audit-exported"
    AUDIT_ARCHIVED = "audit-archived"
    AUDIT_KEY_ROTATED = "audit-key-rotated"
    AUDIT_CHAIN_STARTED = "audit-chain-started"
