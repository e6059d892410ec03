"""Which network addresses a tool may connect to: public ones, and those that its author opened on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

# IPv6 that carries an IPv4 address inside, where a gateway may take it out again: what is behind is nobody's to say.
_CARRIERS = {
    "an IPv4-mapped": ip_network("::ffff:0:0/96"),
    "an IPv4-compatible": ip_network("::/96"),
    "an IPv4-translated": ip_network("::ffff:0:0:0/96"),
    "a NAT64": ip_network("64:ff9b::/96"),
    "a local NAT64": ip_network("64:ff9b:1::/48"),
    "a 6to4": ip_network("2002::/16"),
    "a Teredo": ip_network("2001::/32"),
}
# Said again beside what `ipaddress` knows: older Pythons held some of these for global.
_NEVER = [
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
        *("3fff::/20", "5f00::/16", "fec0::/10"),
    )
]
_GIVEN_OUT = ip_network("2000::/3")
"""All of IPv6 that is in public use. What is given out one day is let through by a newer list, not by this one."""


def networks_of(given: Sequence[str]) -> tuple[Network, ...]:
    """Networks by their text. Raises ``ValueError`` that names one that is none."""
    return tuple(ip_network(each) for each in given)


def refusal(text: str, opened: Sequence[Network] = ()) -> str | None:
    """Why nothing may connect to an address, as ``a loopback address``; ``None``: it may."""
    try:
        address = ip_address(text)
    except ValueError:
        return "not an address"
    if any(address in network for network in opened):
        return None
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        return "an address of one interface"
    if address.is_loopback or address.is_unspecified:
        return "a loopback address"
    for kind, network in _CARRIERS.items():
        if address in network:
            return f"{kind} address"
    if address.is_link_local:
        return "a link-local address"
    if address.is_multicast:
        return "a multicast address"
    if any(address in network for network in _NEVER):
        return "a reserved address"
    if address.is_private:
        return "a private address"
    public = address.is_global and not address.is_reserved and (address.version == 4 or address in _GIVEN_OUT)
    return None if public else "a reserved address"
