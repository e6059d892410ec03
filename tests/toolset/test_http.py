"""HTTP GET: what it shows of an answer, and what it makes of one that it cannot show."""

from __future__ import annotations

import time

import pytest

from examples.tools.http import http_get
from interlock import ToolError
from interlock.errors import Failure
from tests.toolset.web import get, page, site


async def test_what_an_answer_looks_like() -> None:
    async with site(
        {
            "/a?b=c": page(b"caf\xe9", "text/html; charset=iso-8859-1"),
            "/json": page(b'{"a": 1}', "application/vnd.api+json"),
            "/old": b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
            "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nWiki\r\n5\r\npedia\r\n0\r\n\r\n",
            "/odd": page(b"\xff\xfe", "text/plain; charset=punycode"),
            "/empty": page(b"", status="204 No Content"),
        }
    ) as here:
        assert await get(here, "/a?b=c#part") == f"http://site.test:{here.port}/a?b=c#part 200 text/html\n\ncafé"
        assert (await get(here, "/json")).endswith('200 application/vnd.api+json\n\n{"a": 1}')
        assert (await get(here, "/old")).endswith("\n\nuntil the end")
        assert (await get(here, "/chunks")).endswith("\n\nWikipedia")
        assert (await get(here, "/odd")).endswith("\n\n��")
        assert "204" in await get(here, "/empty")
        first = here.heads[0].split("\r\n")
        assert first[0] == "GET /a?b=c HTTP/1.1"
        assert f"Host: site.test:{here.port}" in first


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (page(b"\x89PNG", "image/png"), "is image/png, which is not text"),
        (page(b"x", "application/octet-stream"), "which is not text"),
        (page(b"\x1f\x8b", "text/plain", "Content-Encoding: gzip"), "is text/plain in gzip"),
        (page(b"nothing here", status="404 Not Found"), "answered 404 Not Found: nothing here"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "did not answer as an HTTP server does"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "did not answer as an HTTP server does"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", "did not answer as an HTTP server does"),
        (b"", "did not answer as an HTTP server does"),
    ],
    ids=["image", "binary", "packed", "404", "no http", "long head", "many heads", "nothing"],
)
async def test_an_answer_that_is_not_read(answer: bytes, said: str) -> None:
    async with site({"/": answer}) as here:
        with pytest.raises(ToolError) as refused:
            await get(here, "/")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\ncut\r\n0\r\n\r\n",
    ],
    ids=["cut", "cut chunk", "odd chunk"],
)
async def test_what_may_work_another_time_is_tried_again_by_policy(answer: bytes) -> None:
    async with site({"/": answer}) as here:
        with pytest.raises(ConnectionError):
            await get(here, "/")
    with pytest.raises(ConnectionError, match="cannot be reached"):
        await get(here, "/")


@pytest.mark.parametrize(
    ("status", "asked", "outage", "least", "most"),
    [
        ("503 Service Unavailable", "", True, None, None),
        ("503 Service Unavailable", "7", True, 7, 7),
        ("429 Too Many Requests", "120", False, 120, 120),
        ("429 Too Many Requests", "Fri, 31 Dec 2100 23:59:59 GMT", False, 1e6, 1e10),
        ("429 Too Many Requests", "soon", False, None, None),
        ("408 Request Timeout", "", False, None, None),
        ("425 Too Early", "", False, None, None),
    ],
)
async def test_who_is_asked_to_come_later_does_and_only_a_server_that_fails_is_taken_for_down(
    status: str, asked: str, outage: bool, least: float | None, most: float | None
) -> None:
    more = [f"Retry-After: {asked}"] if asked else []
    async with site({"/": page(b"later", "text/plain", *more, status=status)}) as here:
        with pytest.raises(Failure, match=f"answered {status}") as later:
            await get(here, "/")
    assert (later.value.kind, later.value.outage) == ("ToolFailed", outage)
    if least is None or most is None:
        assert later.value.retry_after is None
    else:
        assert later.value.retry_after is not None
        assert least <= later.value.retry_after <= most


async def test_an_endless_answer_is_cut_and_a_slow_one_is_given_up() -> None:
    endless = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 3_000_000
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"100000\r\n" + b"x" * 0x100000
    async with site({"/": endless, "/chunks": chunks, "/slow": b"HTTP/1.1 200 OK\r\n"}, slow=["/slow"]) as here:
        for path in ("/", "/chunks"):
            text = await get(here, path, most_bytes=1000)
            assert text.endswith("x\n[cut: only the first 1000 bytes were read]")
            assert text.count("xxxxx") == 200
        began = time.monotonic()
        with pytest.raises(ToolError, match=r"did not answer in full within 0\.5 s"):
            await get(here, "/slow", seconds=0.5)
        assert time.monotonic() - began < 25


@pytest.mark.parametrize("hosts", [[], ["http://site.test"], ["SITE.test"], ["site.test/"], ["a b"], ["*x.test"]])
def test_a_list_of_hosts_that_is_none_is_said_when_the_agent_is_made(hosts: list[str]) -> None:
    with pytest.raises(ValueError, match="http_get"):
        http_get(hosts)


def test_what_the_model_reads_of_it() -> None:
    spec = http_get(["site.test", "*.example.org"], name="docs").spec()
    assert (spec.name, spec.effect) == ("docs", "read")
    assert "from one of these hosts: site.test, *.example.org." in spec.description
