"""The result of a check, and the report on a component."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any, Literal

Outcome = Literal["passed", "failed", "skipped", "expected failure"]


@dataclass(frozen=True)
class Result:
    """The outcome of one check.

    Parameters
    ----------
    check : str
        The name of the check.
    outcome : {"passed", "failed", "skipped", "expected failure"}
        How it ended.
    reason : str
        What was found and how to mend it, why the check was skipped, or why the failure was expected.
    seconds : float
        Running time.
    """

    check: str
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """The outcomes of all checks of one component.

    Parameters
    ----------
    component : str
        ``distribution:name``, or the class that was given.
    kind : str
        The kind that it was checked as; ``"plugin"`` for a broken plugin, which offers no components.
    results : tuple of Result
        In the order of the checks.
    """

    component: str
    kind: str
    results: tuple[Result, ...]

    def of(self, outcome: Outcome) -> tuple[Result, ...]:
        """Return the results with this outcome."""
        return tuple(result for result in self.results if result.outcome == outcome)

    @property
    def ok(self) -> bool:
        """Whether no check failed and at least one passed."""
        return not self.of("failed") and bool(self.of("passed"))

    @property
    def summary(self) -> str:
        """The counts in words: ``24 passed, 1 skipped``."""
        counts = Counter(result.outcome for result in self.results)
        return ", ".join(f"{count} {outcome}" for outcome, count in counts.items()) or "no check ran"

    def as_dict(self) -> dict[str, Any]:
        """Return what ``asd check --json`` prints."""
        counts = Counter(result.outcome.replace(" ", "_") for result in self.results)
        return {
            "component": self.component,
            "kind": self.kind,
            "ok": self.ok,
            "counts": dict(counts),
            "results": [asdict(result) for result in self.results],
        }

    def raise_for_failures(self) -> None:
        """Raise an AssertionError that names every failed check, or that none ran."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        lines = [f"{self.component} ({self.kind}): {self.summary}"]
        lines += [f"  {r.check}: {r.outcome}: {r.reason}" for r in self.results if r.outcome != "passed"]
        return "\n".join(lines)
