"""HTTP GET reaches allowed hosts at allowed addresses, and nothing else."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from examples.tools.addresses import refusal
from examples.tools.http import http_get
from interlock import ToolError
from tests.toolset.web import LOOPBACK, Names, get, page, redirect, site


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "a loopback address"),
        ("127.255.0.9", "a loopback address"),
        ("::1", "a loopback address"),
        ("0.0.0.0", "a loopback address"),
        ("::", "a loopback address"),
        ("10.0.0.1", "a private address"),
        ("172.16.0.1", "a private address"),
        ("192.168.1.1", "a private address"),
        ("fd00::1", "a private address"),
        ("169.254.169.254", "a link-local address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "an address of one interface"),
        ("224.0.0.1", "a multicast address"),
        ("239.1.2.3", "a multicast address"),
        ("ff02::1", "a multicast address"),
        ("0.1.2.3", "a reserved address"),
        ("100.64.0.1", "a reserved address"),
        ("192.0.0.8", "a reserved address"),
        ("198.18.0.1", "a reserved address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("fec0::1", "a reserved address"),
        ("3fff::1", "a reserved address"),
        ("4000::1", "a reserved address"),
        ("192.0.2.1", "a private address"),
        ("2001:db8::1", "a private address"),
        ("::ffff:127.0.0.1", "an IPv4-mapped address"),
        ("::ffff:8.8.8.8", "an IPv4-mapped address"),
        ("::127.0.0.1", "an IPv4-compatible address"),
        ("64:ff9b::7f00:1", "a NAT64 address"),
        ("64:ff9b:1::7f00:1", "a local NAT64 address"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a Teredo address"),
        ("not an address", "not an address"),
        ("8.8.8.8", None),
        ("2606:4700::1111", None),
    ],
)
def test_only_public_addresses_may_be_reached(address: str, kind: str | None) -> None:
    assert refusal(address) == kind


def test_a_network_that_was_opened_is_open_and_no_other() -> None:
    opened = [ip_network("10.1.0.0/16"), ip_network("fd00::/8")]
    assert refusal("10.1.2.3", opened) is None
    assert refusal("fd00::1", opened) is None
    assert refusal("10.2.0.1", opened) == "a private address"
    assert refusal("::ffff:10.1.2.3", opened) == "an IPv4-mapped address"


URLS = [
    ("ftp://site.test/", "only http and https"),
    ("file:///etc/passwd", "only http and https"),
    ("gopher://site.test/", "only http and https"),
    ("javascript:alert(1)", "only http and https"),
    ("site.test/x", "only http and https"),
    ("", "only http and https"),
    ("http://", "is not allowed"),
    ("http://other.test/", "is not allowed. Allowed: site.test"),
    ("http://site.test.evil.test/", "is not allowed"),
    ("http://xsite.test/", "is not allowed"),
    ("http://site.test:22/", "'site.test:22' is not allowed"),
    ("http://site.test:99999/", "is no URL"),
    ("http://site.test@127.0.0.1/", "a user or a password is refused"),
    ("http://user:hunter2@site.test/", "a user or a password is refused"),
    ("http://127.0.0.1/", "is not allowed"),
    ("http://2130706433/", "is not allowed"),
    ("http://0x7f.1/", "is not allowed"),
    ("http://[::1]/", "is not allowed"),
    ("http://[::ffff:127.0.0.1]/", "is not allowed"),
    ("http://[fe80::1%25eth0]/", "is"),
    ("http://s\u0456te.test/", "characters that no URL has"),
    ("http://site。test/", "characters that no URL has"),
    ("http://site.test\\@evil.test/", "characters that no URL has"),
    ("http://site.test/\r\nX-Evil: 1", "characters that no URL has"),
    ("http://site.test/a b", "characters that no URL has"),
    ("http://site.test/\0", "characters that no URL has"),
    ("http://%73ite.test/", "is not allowed"),
    ("http://[site.test/", "is no URL"),
]


@pytest.mark.parametrize(("url", "said"), URLS, ids=[ascii(url) for url, _ in URLS])
async def test_a_url_that_may_not_be_asked_for(url: str, said: str) -> None:
    names = Names({})
    with pytest.raises(ToolError) as refused:
        await http_get(["site.test"], resolve=names)(url)
    assert said in str(refused.value)
    assert "hunter2" not in str(refused.value)
    assert names.asked == []


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("http://a.example.org/", True),
        ("http://a.b.example.org/", True),
        ("https://A.EXAMPLE.ORG./", True),
        ("http://example.org/", False),
        ("http://evilexample.org/", False),
        ("http://api.test/", False),
        ("http://api.test:8080/", True),
    ],
)
async def test_which_hosts_a_list_allows(host: str, allowed: bool) -> None:
    with pytest.raises(ToolError, match="has no address" if allowed else "is not allowed"):
        await http_get(["*.example.org", "api.test:8080"], resolve=Names({}))(host)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost", "[::1]", "[::ffff:7f00:1]"]
)
async def test_where_any_host_is_allowed_its_address_still_has_to_be_public(host: str) -> None:
    with pytest.raises(ToolError, match="only public addresses may be reached"):
        await http_get(["*"])(f"http://{host}/")


async def test_one_bad_address_of_a_host_refuses_it() -> None:
    names = Names({"mixed.test": [["8.8.8.8", "10.0.0.1"]]})
    with pytest.raises(ToolError, match=r"mixed\.test is at 10\.0\.0\.1, a private address"):
        await http_get(["*"], resolve=names)("http://mixed.test/")


async def test_a_name_that_means_something_else_a_moment_later_changes_nothing() -> None:
    """The connection goes to the address that was checked; a redirect is looked up, and checked, again."""
    names = Names({"site.test": [["127.0.0.1"], ["169.254.169.254"]]})
    async with site({"/": page(b"checked"), "/to": redirect("/")}) as here:
        assert (await get(here, "/", resolve=names)).endswith("checked")
        assert names.asked == ["site.test"]
        names = Names(names.addresses)
        with pytest.raises(ToolError, match=r"is at 169\.254\.169\.254, a link-local address"):
            await get(here, "/to", resolve=names)
        assert names.asked == ["site.test", "site.test"]
        assert [head.split()[1] for head in here.heads] == ["/", "/to"]


async def test_the_first_address_that_answers_is_used() -> None:
    names = Names({"site.test": [["::1", "127.0.0.1"]]})
    async with site({"/": page(b"here")}) as here:
        assert (await get(here, "/", resolve=names, networks=["::1/128", *LOOPBACK])).endswith("here")


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("http://other.test/", "'other.test:80' is not allowed"),
        ("//other.test/", "is not allowed"),
        ("http://127.0.0.1:PORT/", "is not allowed"),
        ("http://169.254.169.254/latest/meta-data/", "is not allowed"),
        ("file:///etc/passwd", "only http and https"),
        ("http://user:pw@site.test:PORT/", "a user or a password"),
        ("/loop", "more than 5 redirects"),
        ("http://site.test:PORT/\\evil", "characters that no URL has"),
    ],
)
async def test_a_redirect_is_checked_as_the_first_was(to: str, said: str) -> None:
    async with site({"/to": redirect(to), "/loop": redirect("/loop")}) as here:
        with pytest.raises(ToolError) as refused:
            await get(here, "/to")
    assert said in str(refused.value)


async def test_a_redirect_to_what_is_allowed_is_followed() -> None:
    async with site({"/to": redirect("/there", "308 Permanent Redirect"), "/there": page(b"arrived")}) as here:
        assert (await get(here, "/to")).endswith("/there 200 text/plain\n\narrived")


def certificate(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate for a host name that signs itself, and a server's TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = folder / f"{name}.pem", folder / f"{name}.key"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(path, key_path)
    return path, tls


async def test_tls_verifies_the_name_although_the_connection_goes_to_an_address(tmp_path: Path) -> None:
    trusted, tls = certificate(tmp_path, "site.test")
    names = Names({"site.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]})
    down = {"/down": redirect("http://site.test:PORT/"), "/down-loud": redirect("HTTP://site.test:PORT/")}
    async with site({"/": page(b"secret"), **down}, tls=tls) as here:
        hosts = [f"site.test:{here.port}", f"other.test:{here.port}"]
        ask = http_get(hosts, networks=LOOPBACK, resolve=names, certificates=trusted)
        assert (await ask(f"https://site.test:{here.port}/")).endswith("secret")
        assert here.names == ["site.test"]
        for path in ("/down", "/down-loud"):
            with pytest.raises(ToolError, match="which is not encrypted"):
                await ask(f"https://site.test:{here.port}{path}")
        with pytest.raises(ToolError, match="is not who it claims to be"):
            await ask(f"https://other.test:{here.port}/")
        with pytest.raises(ToolError, match="is not who it claims to be"):
            await http_get(hosts, networks=LOOPBACK, resolve=names)(f"https://site.test:{here.port}/")
