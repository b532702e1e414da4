"""Keeping credentials out of everything that is shown: names, messages, logs, reprs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

__all__ = ["Secrets", "links_of", "redacted"]

HIDDEN = "***"
_SHOWN = frozenset(
    {
        "versionid",
        "version_id",
        "generation",
        "snapshot",
        "file",
        "filename",
        "download",
    }
)
"""Parts of a query that say which file it is; whatever else it has may let one in."""
_HARMLESS = frozenset(
    {
        "endpoint_url",
        "region_name",
        "account_name",
        "account_host",
        "project",
        "protocol",
        "target_protocol",
        "cache_storage",
        "default_fill_cache",
        "encoding",
        "signature_version",
        "addressing_style",
    }
)
"""Storage options whose values may be shown."""
_LEAST = 4
"""Shorter values are no secrets, and hiding them would garble every message."""

_CHAIN = re.compile(r"::(?![^/\[\]]*\])")
"""Between the links of a chained URL, not within the address ``[::1]``."""
_URL_IN_TEXT = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://[^\s'\"<>(){}]+")
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*://)([^/?#@]*)@")
_QUERY = re.compile(r"([?&;])([^=&;#]*)=([^&;#]*)")


def redacted(url: str) -> str:
    """Return a URL without what lets others in, to be shown.

    User and password, the values of the query (but for those that name a version or a
    file) and the fragment are replaced; so a signed URL shows which file it is only.

    Examples
    --------
    >>> redacted("https://me:secret@example.org/a.nd2?X-Amz-Signature=0af3&versionId=2")
    'https://***@example.org/a.nd2?X-Amz-Signature=***&versionId=2'
    """
    return "::".join(map(_redacted_part, links_of(url)))


def links_of(url: str) -> list[str]:
    """Return the links of a chained URL of fsspec, or the URL alone.

    Examples
    --------
    >>> links_of("zip://a.nd2::http://[::1]/x.zip")
    ['zip://a.nd2', 'http://[::1]/x.zip']
    """
    return _CHAIN.split(url)


def _redacted_part(url: str) -> str:
    if "://" not in url:
        return url
    url, hash_mark, fragment = _USER.sub(rf"\1{HIDDEN}@", url).partition("#")
    address, mark, query = url.partition("?")
    if "=" in query:
        shown = _QUERY.sub(_hide_value, mark + query)
    else:  # a bare word: nobody knows what it is
        shown = mark + (HIDDEN if query else "")
    return address + shown + hash_mark + (HIDDEN if fragment else "")


def _hide_value(found: re.Match[str]) -> str:
    mark, name, value = found.groups()
    kept = value if unquote(name).lower() in _SHOWN or not value else HIDDEN
    return f"{mark}{name}={kept}"


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """What must not be shown of a URL and its storage options."""

    words: tuple[str, ...] = ()

    @classmethod
    def of(cls, url: str, options: Mapping[str, Any] | None = None) -> Secrets:
        """Collect the secrets of a URL and of storage options, longest first."""
        words = {*_in_url(url), *_in_options(options or {})}
        words |= {unquote(word) for word in words}
        found = sorted((w for w in words if len(w) >= _LEAST), key=len, reverse=True)
        return cls(tuple(found))

    def scrub(self, text: str) -> str:
        """Return a text without the secrets, nor those of other URLs in it.

        A server may have sent on to a URL that it signed.
        """
        for word in self.words:
            text = text.replace(word, HIDDEN)
        return _URL_IN_TEXT.sub(lambda found: redacted(found[0]), text)

    def are_in(self, text: str) -> bool:
        """Say whether a text shows one of them."""
        return self.scrub(text) != text


def _in_url(url: str) -> Iterator[str]:
    for part in links_of(url):
        if user := _USER.match(part):
            yield from (user[2], *user[2].split(":", 1))
            yield base64.b64encode(unquote(user[2]).encode()).decode()
        address, _, fragment = part.partition("#")
        _, _, query = address.partition("?")
        if "=" not in query:
            yield query
        for _, name, value in _QUERY.findall("?" + query):
            if unquote(name).lower() not in _SHOWN:
                yield value
        yield fragment


def _in_options(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
        yield from value.split()  # "Bearer ..."
    elif isinstance(value, bytes):
        yield value.decode("latin-1")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            if str(name).lower() not in _HARMLESS:
                yield from _in_options(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _in_options(one)
        if len(value) >= 2 and isinstance(value, tuple):  # user and password
            pair = ":".join(map(str, value[:2]))
            yield base64.b64encode(pair.encode()).decode()
