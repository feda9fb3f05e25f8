"""Errors of profiles, clients and their state."""

from __future__ import annotations

from pvboot.errors import PvbootError


class DescriptionError(PvbootError):
    """A profile, a client or another description is wrong; `where` is the place in it ("profiles.debian.kernel")."""

    code = "bad-description"
    exit_code = 2


class InexpressibleError(PvbootError):
    """A profile holds something that the asked dialect has no way to say."""

    code = "inexpressible"


class StateError(PvbootError):
    """The database cannot be opened, is of another version, or failed."""

    code = "state"


class UnknownRecordError(PvbootError):
    """No client or profile has that name."""

    code = "unknown-record"
    exit_code = 1


class ConflictError(PvbootError):
    """A change contradicts a record that is already there."""

    code = "conflict"
    exit_code = 1


class StaleError(ConflictError):
    """The record has been changed since the version that the change was made to."""

    code = "stale"
