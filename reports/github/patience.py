"""How long to wait before a request is sent again, and when to give up. Pure: the clock is given in."""

from __future__ import annotations

import re
from typing import Final

from reports.github.request import Answer

LONGEST: Final = 300.0
"""Seconds that one run waits in all, unless it is told otherwise."""
ATTEMPTS: Final = 6
"""How often one request is sent."""

_FIRST: Final = 1.0
_MINUTE: Final = 60.0
"""What GitHub asks for after a secondary limit that names no time ("Rate limits for the REST API")."""
_BROKEN: Final = frozenset({500, 502, 503, 504})
_LIMITED: Final = frozenset({403, 429})
_SECONDARY = re.compile(r"secondary rate limit|abuse detection", re.IGNORECASE)


def limited(answer: Answer) -> bool:
    """Whether an answer says: not now. It was not carried out then."""
    if answer.status not in _LIMITED:
        return False
    return (
        answer.status == 429  # noqa: PLR2004 - RFC 6585
        or "retry-after" in answer.headers
        or answer.headers.get("x-ratelimit-remaining") == "0"
        or _SECONDARY.search(answer.message) is not None
    )


def broken(answer: Answer) -> bool:
    """Whether GitHub itself failed: what was asked may have been carried out or not."""
    return answer.status in _BROKEN


def pause(answer: Answer | None, attempt: int, now: float) -> float:
    """Seconds until the next attempt after `attempt` of them; `now` in seconds since 1970, None: no answer."""
    backoff = _FIRST * (1 << (attempt - 1))
    if answer is None or not (limited(answer) or broken(answer)):
        return backoff
    if (after := _number(answer.headers.get("retry-after"))) is not None:
        return max(after, 0.0)
    if not limited(answer):
        return backoff
    reset = _number(answer.headers.get("x-ratelimit-reset"))
    if answer.headers.get("x-ratelimit-remaining") == "0" and reset is not None:
        return max(reset - now, 0.0) + _FIRST
    return _MINUTE * (1 << (attempt - 1))


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:  # a date, which GitHub does not send
        return None
