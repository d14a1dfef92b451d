"""The conformance kit, which is a distribution of its own: ``pip install asd-testing``.

>>> from asd.testing import check_component
>>> check_component("gmm").raise_for_failures()  # doctest: +SKIP
"""

from __future__ import annotations

try:
    from asd_testing import Check, Report, Result, check_component, checks, parametrize_with_checks
except ModuleNotFoundError as error:
    if error.name != "asd_testing":
        raise
    raise ModuleNotFoundError(
        "asd.testing needs the conformance kit: pip install asd-testing", name=error.name
    ) from None

__all__ = ["Check", "Report", "Result", "check_component", "checks", "parametrize_with_checks"]

__path__: list[str] = []  # so that asd.testing.machines is answered with its new place
