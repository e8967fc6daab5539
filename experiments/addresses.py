"""Addresses of databases and servers as they may be shown: without passwords."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, unquote, urlsplit

HIDDEN = "***"
_SECRET = re.compile(r"([?&;](?:password|passwd|pass|pwd|token|secret|sslpassword)=)[^&;#\s'\"]*", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s@'\"]*(?:@[^/\s@'\"]*)*@")


def describe(uri: str) -> str:
    """An address without user name, password and secret parameters."""
    return _SECRET.sub(rf"\g<1>{HIDDEN}", _USER.sub("", uri))


def without_secrets(text: str, *uris: str | None) -> str:
    """A text in which the passwords of some addresses, and all that any address in it has, are replaced by stars."""
    text = describe(text)
    for uri in uris:
        for secret in _secrets(uri) if uri else ():
            text = text.replace(secret, HIDDEN)
    return text


def _secrets(uri: str) -> list[str]:
    """The secrets in an address, longest first, as they are written there and decoded."""
    try:
        parts = urlsplit(uri)
        password = parts.password
    except ValueError:
        return []
    found = [password or ""] + [value for key, value in parse_qsl(parts.query) if _SECRET.match(f"?{key}={value}")]
    found += [unquote(secret) for secret in found]
    return sorted({secret for secret in found if secret}, key=len, reverse=True)
