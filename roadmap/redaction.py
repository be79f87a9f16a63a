"""What of an address may be written down: never its user, password or query, where tokens are.

Every JSON file of a record passes :func:`public` (:mod:`roadmap.record`), every line of a log
:class:`PublicFormatter`, and what goes to MLflow comes from the record. So no writer has to think of it.
"""

from __future__ import annotations

import logging
import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

_ADDRESS = re.compile(r"\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"<>]+")
#: A user with or without a password, or a password that holds the characters which end a user.
_USER = re.compile(r"^(?:[^/?#]*@|[^/?#@:]*:.*@)", re.DOTALL)
_CLOSING = "'`.,;)]}"


def public_uri(uri: str) -> str:
    """The address without user, password and query; anything else as it is."""
    scheme, separator, rest = uri.partition("://")
    return f"{scheme}{separator}{_USER.sub('', rest).partition('?')[0]}" if separator else uri


def public_text(text: str) -> str:
    """The text with each address in it as :func:`public_uri` gives it."""
    return _ADDRESS.sub(_public_match, text)


def public(value: Any) -> Any:
    """The same for every text in plain JSON values."""
    if isinstance(value, str):
        return public_text(value)
    if isinstance(value, dict):
        return {key: public(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [public(item) for item in value]
    return value


def without_secrets(text: str, uri: str) -> str:
    """The same, and without the user, password and query of one address wherever they stand alone."""
    text = public_text(text.replace(uri, public_uri(uri)))
    parts = urlsplit(uri)
    user, _, _host = parts.netloc.rpartition("@")
    named = [user, *user.split(":", 1), parts.query, *(value for _key, value in parse_qsl(parts.query))]
    for secret in sorted({*named, *map(unquote, named)} - {""}, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text


class PublicFormatter(logging.Formatter):
    """Log lines, tracebacks included, with the addresses in them fit for others."""

    def format(self, record: logging.LogRecord) -> str:
        return public_text(super().format(record))


def _public_match(match: re.Match[str]) -> str:
    address = match.group()
    inner = address.rstrip(_CLOSING)
    return public_uri(inner) + address[len(inner) :]
