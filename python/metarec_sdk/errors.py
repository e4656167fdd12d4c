"""Typed exceptions: each names what was wrong, what was got, what was wanted and the remedy.

Every class also derives from the built-in exception that a caller would expect, so that
``except ValueError`` works.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class MetarecError(Exception):
    """Base of every error that metarec_sdk raises on purpose."""


class DataError(MetarecError, ValueError):
    """The data given by the caller can't be used: the message names column, row and remedy."""


class ColumnError(DataError, KeyError):
    """A column is missing, misnamed or of the wrong dtype."""

    __str__ = Exception.__str__

    @classmethod
    def missing(cls, column: str, role: str, available: Iterable[str]) -> ColumnError:
        """The error for a column that isn't there, with the closest name that is."""
        names = list(available)
        close = get_close_matches(column, names, n=1, cutoff=0.6)
        hint = f" Did you mean {role}={close[0]!r}?" if close else ""
        return cls(f"column {column!r} (given as {role}=) is not in the data; it has {names}.{hint}")


class ArgumentError(MetarecError, ValueError):
    """An argument is outside its range or of the wrong form; the message names it and its bound."""


class UnknownIdError(MetarecError, KeyError):
    """A user, item, event type or component isn't known; the message says which and what is."""

    __str__ = Exception.__str__


class NotFittedError(MetarecError, RuntimeError):
    """The object has to be fitted or loaded first."""


class ArtefactError(MetarecError, ValueError):
    """A model folder or file is truncated, altered, or from a newer version. Nothing was loaded."""


class StorageError(MetarecError, OSError):
    """The event log or a model folder can't be written or read. What was acknowledged before is kept."""


class ConflictError(MetarecError, RuntimeError):
    """A compare-and-set lost: somebody else published first. Nothing was changed."""


class PluginError(MetarecError, RuntimeError):
    """A plugin is missing, broken or breaks its contract; the message names distribution and component."""


class MissingDependencyError(MetarecError, ImportError):
    """An optional dependency isn't installed; the message holds the command that installs it."""

    @classmethod
    def extra(
        cls, package: str, extra: str, purpose: str, instead: str | None = None
    ) -> MissingDependencyError:
        """The error for a package that comes with an extra of metarec-sdk; ``instead`` does without it."""
        command = f"pip install 'metarec-sdk[{extra}]'"
        other = f", or choose {instead}" if instead else ""
        return cls(f"{purpose} needs {package}, which isn't installed; run: {command}{other}")


class DataWarning(UserWarning):
    """The data can be used but looks wrong, for example timestamps in another unit."""
