"""Credentials are found in URLs and options, and do not come through."""

from __future__ import annotations

import string
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limnd2_xr.container.redaction import Secrets, redacted

words = st.text(string.ascii_letters + string.digits + "/+=&?#@: %", min_size=8).map(
    lambda text: f"S3cr{text}t"
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a.nd2", "s3://bucket/a.nd2"),
        ("https://h/a%20b.nd2", "https://h/a%20b.nd2"),
        ("https://me:pw@h:8080/a.nd2", "https://***@h:8080/a.nd2"),
        ("https://token@h/a.nd2", "https://***@h/a.nd2"),
        ("https://h/a@b.nd2", "https://h/a@b.nd2"),
        ("https://h/a.nd2?sig=x&se=2026", "https://h/a.nd2?sig=***&se=***"),
        ("https://h/get?file=a.nd2&token=x", "https://h/get?file=a.nd2&token=***"),
        ("s3://b/a.nd2?versionId=7", "s3://b/a.nd2?versionId=7"),
        ("https://h/a.nd2?x", "https://h/a.nd2?***"),
        ("https://h/a.nd2#x", "https://h/a.nd2#***"),
        ("https://h/a.nd2#x?y=z", "https://h/a.nd2#***"),
        ("https://h/a.nd2?v=1#x", "https://h/a.nd2?v=***#***"),
        ("https://h/a.nd2?", "https://h/a.nd2?"),
        (
            "zip://a.nd2::https://me:pw@h/x.zip?sig=x",
            "zip://a.nd2::https://***@h/x.zip?sig=***",
        ),
        ("http://me:pw@[::1]:80/a.nd2?sig=x", "http://***@[::1]:80/a.nd2?sig=***"),
        (
            "zip://a.nd2::http://[fe80::1]/x.zip?sig=x",
            "zip://a.nd2::http://[fe80::1]/x.zip?sig=***",
        ),
        ("a.nd2", "a.nd2"),
        ("/data/what?.nd2", "/data/what?.nd2"),
    ],
)
def test_urls_as_they_are_shown(url: str, shown: str) -> None:
    assert redacted(url) == shown
    assert redacted(shown) == shown


@given(secret=words, way=st.sampled_from(["user", "query", "fragment"]))
def test_secrets_do_not_come_through(secret: str, way: str) -> None:
    quoted = quote(secret, safe="")
    url = {
        "user": f"https://me:{quoted}@h/a.nd2",
        "query": f"https://h/a.nd2?versionId=3&X-Amz-Signature={quoted}",
        "fragment": f"https://h/a.nd2#{quoted}",
    }[way]
    assert quoted not in redacted(url)
    secrets = Secrets.of(url)
    for text in (f"cannot read {url}", f"HTTP 403 for {quoted}", f"and {secret}."):
        assert secrets.are_in(text)
        scrubbed = secrets.scrub(text)
        assert quoted not in scrubbed
        assert secret not in scrubbed
    assert "S3cr" not in repr(secrets)


def test_urls_within_messages() -> None:
    """Of places that a server sent on to."""
    text = "403, url='https://h/b.nd2?X-Amz-Signature=0af3', (https://me:pw@h/)"
    shown = "403, url='https://h/b.nd2?X-Amz-Signature=***', (https://***@h/)"
    assert Secrets().scrub(text) == shown
    assert Secrets().are_in(text)
    assert not Secrets().are_in(shown)


def test_secrets_of_options() -> None:
    options = {
        "key": "AKIAKEY",
        "client_kwargs": {"endpoint_url": "http://minio:9000", "token": b"tok-en"},
        "headers": {"Authorization": "Bearer abcdef"},
        "auth": ("user", "password"),
        "anon": False,
    }
    secrets = Secrets.of("s3://b/a.nd2", options)
    shown = secrets.scrub(
        "AKIAKEY http://minio:9000 tok-en Bearer abcdef, password dXNlcjpwYXNzd29yZA=="
    )
    assert shown == "*** http://minio:9000 *** ***, *** ***"
    assert Secrets.of("s3://b/a.nd2").words == ()
