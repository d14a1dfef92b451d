"""The error of a request, for modules that need nothing else of the server."""

from __future__ import annotations

from collections.abc import Mapping

from asd.errors import AsdError


class RequestError(AsdError):
    """A request that cannot be answered as it was meant.

    Parameters
    ----------
    status : int
        Status of the answer, such as 404 for what does not exist and 409 for what does not fit the present state.
    text : str
        What was received, what was expected, and how to mend it, in one line.
    headers : mapping, optional
        Further headers of the answer, such as ``Retry-After``.
    """

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = dict(headers or {})
