"""Parse Python literals from untrusted files, and check the types of what they hold.

A literal is checked before it is parsed (size, nesting, alphabet) and is never evaluated as code.
"""

from __future__ import annotations

import ast
import re
import threading
from typing import Any

import numpy as np

#: Longest literal, in bytes, that is parsed.
MAX_LITERAL = 4 * 2**20
_MAX_NESTING = 12
# CPython before 3.11.8 counts the depth of every tree being built in one place (gh-106905): two
# threads that parse at once can fail with SystemError.
_PARSING = threading.Lock()

_STRINGS = re.compile(r"""b?(?:'(?:\\.|[^'\\])*+(?:'|$)|"(?:\\.|[^"\\])*+(?:"|$))""", re.DOTALL)
#: Matches what a literal of numbers, brackets, True, False and None never contains outside strings.
_FOREIGN = re.compile(r"[^\[\](){},:\s\d.+\-eETrueFalsNon]|[-+]\s*[-+]|[\d.\])}]\s*[-+]")


class HeaderError(ValueError):
    """Raised for a malformed face header; the text says what is wrong."""


def parse_literal(text: bytes) -> Any:
    """Return the value of a Python literal in UTF-8.

    Raises:
        HeaderError: the text is too long, nested too deeply, or not a plain literal.
    """
    if len(text) > MAX_LITERAL:
        raise HeaderError(f"its face header is longer than {MAX_LITERAL // 2**20} MiB")
    try:
        source = text.decode("utf-8")
        bare = _STRINGS.sub("", source)
        if _FOREIGN.search(bare) or _nesting(bare) > _MAX_NESTING:
            raise HeaderError("its face header is not a plain literal")
        with _PARSING:
            return ast.literal_eval(source)
    except HeaderError:
        raise
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise HeaderError("its face header is not a plain literal") from None


def _nesting(text: str) -> int:
    deepest = depth = 0
    for bracket in re.findall(r"[\[\](){}]", text):
        depth += 1 if bracket in "[({" else -1
        deepest = max(deepest, depth)
    return deepest


def as_mapping(value: Any, name: str) -> dict[str, Any]:
    """Return ``value`` if it is a dict with text keys.

    Raises:
        HeaderError: it is not.
    """
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise HeaderError(f"its face header has no proper '{name}'")
    return value


def require_keys(
    value: Any, name: str, required: set[str], optional: set[str] | frozenset[str] = frozenset()
) -> None:
    """Check that ``value`` is a dict with all required keys and no unknown ones.

    Raises:
        HeaderError: it is not.
    """
    keys = set(as_mapping(value, name))
    if missing := required - keys:
        raise HeaderError(f"its face header lacks '{min(missing)}'")
    if unknown := keys - required - optional:
        raise HeaderError(f"its face header has an unknown '{min(unknown)[:40]}'")


def as_integer(value: Any, name: str) -> int:
    """Return ``value`` if it is an integer of at most 32 bits.

    Raises:
        HeaderError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) >= 2**31:
        raise HeaderError(f"its face header has no whole number as '{name}'")
    return value


def as_text(value: Any, name: str) -> str:
    """Return ``value`` if it is text.

    Raises:
        HeaderError: it is not.
    """
    if not isinstance(value, str):
        raise HeaderError(f"its face header has no text as '{name}'")
    return value


def as_floats(value: Any, name: str) -> np.ndarray:
    """Return ``value`` as an array of finite float64.

    Raises:
        HeaderError: it does not hold finite numbers only.
    """
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, OverflowError):
        raise HeaderError(f"its face header has no numbers as '{name}'") from None
    if array.dtype.kind not in "if":
        raise HeaderError(f"its face header has no numbers as '{name}'")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise HeaderError(f"its face header has no finite numbers as '{name}'")
    return array
