"""What can go wrong, one class per remedy.

Retry:          `SourceUnavailable` (a remote source or an engine is busy; the same call may work later).
Skip and count: `RowFailed` and its children (this row is lost by name, the shard goes on).
Stop and tell:  `InvalidInput` (the user's settings or data), `BrokenPromise` (a bug of ours or a damaged file).
"""


class DittoError(Exception):
    """Base of every error that Ditto raises on purpose."""


class SourceUnavailable(DittoError):
    """A remote source was busy, slow or cut off. The same call may work later, so it is retried.

    Args:
        problem: What was asked, what came back, and what to check.
        retry_after: Seconds that the source asked us to wait, if it said so.
    """

    def __init__(self, problem: str, *, retry_after: float | None = None) -> None:
        super().__init__(problem)
        self.retry_after = retry_after


class RowFailed(DittoError):
    """One row cannot be used. It is counted under `reason` in the ledger and kept with its raw text.

    Args:
        reason: The name that the ledger counts, such as "malformed" or "cut".
        problem: What was expected and what was found.
        raw: The text that was found.
    """

    def __init__(self, reason: str, problem: str, *, raw: str = "") -> None:
        super().__init__(f"{reason}: {problem}" + (f"; the text begins {raw[:80]!r}" if raw else ""))
        self.reason = reason
        self.raw = raw


class InvalidInput(DittoError):
    """The user's settings, files or servers do not fit. Printed as it stands, without a traceback."""


class BrokenPromise(DittoError):
    """A sum that must hold does not, or a file is not what its manifest says."""
