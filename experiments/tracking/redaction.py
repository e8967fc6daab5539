"""Addresses of databases and servers as they may be shown: without user names, passwords and tokens."""

from __future__ import annotations

import base64
import pathlib
import re
from urllib.parse import quote, unquote, unquote_plus

HIDDEN = "***"
_KEY = r"[\w.-]*(?:pass|pwd|secret|token|key|credential|auth|odbc_connect)[\w.-]*"
_SECRET = re.compile(rf"([?&;]{_KEY}=)[^&;#\s'\"]*", re.IGNORECASE)
_USER = re.compile(r"(?<=://)[^/\s@'\"]*(?:@[^/\s@'\"]*)*@")


def sqlite_address(path: pathlib.Path) -> str:
    """The address of an SQLite database in a file, with every character of the path that means something escaped."""
    from sqlalchemy.engine import URL

    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def check_place(path: pathlib.Path, option: str = "--out") -> None:
    """Raises `ValueError` for a path that no address, script or log can hold: control characters, broken Unicode."""
    if not all(character.isprintable() for character in str(path)):
        raise ValueError(f"{option} {str(path)!r}: has characters that cannot be printed; give another one")


def describe(uri: str) -> str:
    """An address without user name and password, and with stars for secret parameters.

    Everything before the last `@` counts as user name and password, since a password may hold any character. A path
    (`sqlite:////home/a@b/mlflow.db`) has neither.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return uri
    rest = rest if rest.startswith("/") else rest.rsplit("@", 1)[-1]
    return _SECRET.sub(rf"\g<1>{HIDDEN}", f"{scheme}://{rest}")


def without_secrets(text: str, *uris: str | None) -> str:
    """A text without the secrets of some addresses, however they are spelled in it, and of any address in it.

    Args:
        text: what is to be shown or stored, such as the message of an exception.
        uris: the addresses that were used.
    """
    for uri in filter(None, uris):
        text = text.replace(uri, describe(uri))
        for secret in sorted(_secrets(uri), key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
    return _SECRET.sub(rf"\g<1>{HIDDEN}", _USER.sub("", text))


def has_secret(text: str) -> bool:
    """True if an address in a text holds a password or a secret parameter."""
    keyed = _SECRET.search(text) or re.search(r"passw(or)?d\s*=", text, re.IGNORECASE)
    return bool(keyed) or any(":" in user for user in _USER.findall(text))


def _secrets(uri: str) -> set[str]:
    """The secrets in an address: as they are written, decoded, encoded, and as a header of HTTP spells them."""
    rest = uri.partition("://")[2]
    found = {match[0].partition("=")[2] for match in _SECRET.finditer(rest)}
    if not rest.startswith("/") and "@" in rest:
        user, _, password = rest.rsplit("@", 1)[0].partition(":")
        found.add(password)
        found.add(base64.b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode())
    plain = {unquote(secret) for secret in found} | {unquote_plus(secret) for secret in found}
    return {secret for secret in found | plain | {quote(secret, safe="") for secret in plain} if secret}
