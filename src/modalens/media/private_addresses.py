"""Addresses inside the user's own network, which a list from the web may not make this program ask.

A stranger's list could otherwise read a router's page, a cloud machine's credentials or a database on this machine.
Each name is looked at when it is resolved, so that redirects and names that lead inside are refused as well.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from modalens.media.failure_causes import ClipError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
NAT64 = ipaddress.ip_network("64:ff9b::/96")


def is_public(text: str) -> bool:
    """Whether an IP address is one of the internet's, also where an IPv6 address stands for an IPv4 one."""
    address: Address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        within = address.ipv4_mapped or address.sixtofour
        if address in NAT64:
            within = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        address = within or address
    return address.is_global and not address.is_multicast


def check(url: str) -> None:
    """Raises ClipError for an address whose host is, or is a name for, one that is not public."""
    host = urlsplit(url).hostname or ""
    with contextlib.suppress(OSError):  # no such host: whoever asks it says so
        _refuse(host, socket.getaddrinfo(host, None))


@contextlib.contextmanager
def refused(proxy: str) -> Iterator[None]:
    """Within the block no private address is connected to, but for the proxy's that the user chose. Raises ClipError,
    whatever the block makes of a connection that it did not get."""
    resolve = socket.getaddrinfo
    met: list[ClipError] = []
    trusted = {urlsplit(address).hostname for address in (proxy, *getproxies().values()) if address}

    def guarded(host: Any, *rest: Any, **more: Any) -> Any:
        found = resolve(host, *rest, **more)
        name = host.decode() if isinstance(host, bytes) else host
        if name not in trusted:
            try:
                _refuse(name, found)
            except ClipError as error:
                met.append(error)
                raise
        return found

    socket.getaddrinfo = guarded
    try:
        yield
    except Exception as error:
        if met:
            raise met[0] from error
        raise
    finally:
        socket.getaddrinfo = resolve


def _refuse(host: str | None, found: Iterable[Any]) -> None:
    for *_, place in found:
        if not is_public(str(place[0])):
            raise ClipError(
                "bad_url",
                f"{host} is the private address {place[0]}, which a list from the web may not name; "
                "download.private_addresses: true allows it",
            )
