"""Which addresses are the internet's, and which lists may ask others."""

import socket

import pytest

from modalens.config.resolve import resolve
from modalens.media import private_addresses
from modalens.media.failure_causes import ClipError


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_private_addresses_are_told(text):
    assert not private_addresses.is_public(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "142.250.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_told(text):
    assert private_addresses.is_public(text)


def test_the_proxy_that_the_user_chose_may_be_inside():
    before = socket.getaddrinfo
    with private_addresses.refused("http://ann:pass@127.0.0.1:3128"):
        assert socket.getaddrinfo("127.0.0.1", 3128)
        with pytest.raises(ClipError, match=r"download\.private_addresses: true allows it"):
            socket.getaddrinfo("127.0.0.2", 80)
    assert socket.getaddrinfo is before


@pytest.mark.slow
@pytest.mark.parametrize(
    ("dataset", "allowed"),
    [
        ({"name": "folder", "csv": "clips.csv"}, True),
        ({"name": "folder", "csv": "https://example.org/clips.csv", "media": "m"}, False),
        ({"name": "frozen", "csv": "https://example.org/frozen.csv"}, False),
        ({"name": "vggsound", "csv": ["a.csv", "http://example.org/b.csv"]}, False),
        ({"name": "vggsound", "csv": {"train": "a.csv", "test": "HTTPS://example.org/b.csv"}}, False),
        ({"name": "known_answer"}, True),
    ],
)
def test_a_list_from_a_url_may_not_ask_inside_unless_the_config_says_so(dataset, allowed):
    config = {"name": "s", "tasks": ["t"], "dataset": dataset}
    assert resolve(config)["download"]["private_addresses"] is allowed
    for wanted in (True, False):
        chosen = resolve(config | {"download": {"private_addresses": wanted}})
        assert chosen["download"]["private_addresses"] is wanted
