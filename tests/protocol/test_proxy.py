"""What is said to an HTTP proxy, and every answer that it may give."""

import pytest

from reconciler.protocol.proxy import ProxyError, connect_request, tunnel_is_open


def test_a_tunnel_is_asked_for_with_credentials() -> None:
    assert connect_request("[::1]:10943", "ann", "s:e") == (
        b"CONNECT [::1]:10943 HTTP/1.1\r\nHost: [::1]:10943\r\nProxy-Authorization: Basic YW5uOnM6ZQ==\r\n\r\n"
    )
    assert b"Authorization" not in connect_request("host:1")


def test_a_tunnel_stands_when_the_whole_answer_is_read() -> None:
    answer = b"HTTP/1.0 200 Connection established\r\nProxy-agent: tinyproxy\r\n\r\n"
    assert [tunnel_is_open(answer[:length]) for length in range(len(answer) + 1)] == [False] * len(answer) + [True]


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy wants other credentials (407)"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "the proxy refused the tunnel: 403 Forbidden"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the proxy does not speak HTTP: 'SSH-2.0-OpenSSH_9.2'"),
        (b"HTTP/1.1 200 OK\r\n" + b"x" * (17 << 10), "the proxy's answer has more than 16 KiB"),
    ],
)
def test_a_proxy_that_does_not_connect_us_is_quoted(answer: bytes, sentence: str) -> None:
    with pytest.raises(ProxyError) as failure:
        tunnel_is_open(answer)
    assert str(failure.value) == sentence
