"""Text that plugins, model files and file names bring along, made fit to be shown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and line feed, marks that change the direction of writing, and lone surrogates."""

_LONGEST = 500
"""Characters of an error that are shown."""


def printable(text: str) -> str:
    r"""Return `text` with escapes such as ``\u001b`` for what a terminal would obey or could not encode.

    Tabs and line feeds stay. The escapes are those of JSON: JSON text stays what it says.
    """
    if text.isprintable():
        return str(text)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def is_line(text: object) -> bool:
    """Return whether `text` is one line of printable text, neither blank nor endless."""
    if not (isinstance(text, str) and text.strip() and len(text) <= _LONGEST):
        return False
    return "\n" not in text and printable(text) == text


def counted(number: int, noun: str) -> str:
    """Return a number and what is counted, in the singular for one: ``1 clip``, ``2 clips``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def did_you_mean(
    given: str, names: Iterable[str], otherwise: str | None = None, *, shown_as: Mapping[str, str] | None = None
) -> str:
    """Return the end of a message about a name that is not known.

    Parameters
    ----------
    given : str
        What was written.
    names : iterable of str
        The names that are known.
    otherwise : str, optional
        What is said if no name is close. Default: all that are known.
    shown_as : mapping of str to str, optional
        What is shown for a name, such as the present one for a former one. Default: the names.

    Returns
    -------
    str
        Such as ``did you mean gmm or knn?``, with at most three names, the closest first.
    """
    import difflib  # only for this message, and every command would wait for it

    known = shown_as or {name: name for name in names}
    if close := dict.fromkeys(known[name] for name in difflib.get_close_matches(given, known)):
        return f"did you mean {' or '.join(close)}?"
    return f"known: {', '.join(dict.fromkeys(known.values())) or 'none'}" if otherwise is None else otherwise


def shown(value: object, longest: int = 80) -> str:
    """Return the repr of a foreign object, cut, whatever its ``__repr__`` does."""
    try:
        text = printable(repr(value))
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = f"an object of {type(value).__name__}"
    return text if len(text) <= longest else f"{text[:longest]}…"


def text_of(error: BaseException) -> str:
    """Return the text of a foreign exception, whatever its ``__str__`` does."""
    try:
        return printable(str(error)).strip()
    except KeyboardInterrupt:
        raise
    except BaseException as another:
        return f"its text cannot be shown: {type(another).__name__}"


def describe(error: BaseException) -> str:
    """Return type and first line of a foreign exception's text."""
    text = "".join(text_of(error).splitlines()[:1])[:_LONGEST]
    name = printable(type(error).__name__)
    return f"{name}: {text}" if text else name
