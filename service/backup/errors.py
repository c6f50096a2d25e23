"""Why a backup cannot be made, read or restored."""

from index.errors import OnePersonError


class BackupError(OnePersonError):
    """The message says what is wrong with the backup or the installation, and what to do."""
