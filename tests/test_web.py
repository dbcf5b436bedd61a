"""The web server: applications at their paths, and clients that are silent, slow or too many."""

import contextlib
import http.client
import logging
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.http_client import PATIENCE, get
from twamp import web
from twamp.errors import ConfigError
from twamp.web import WebServer, prometheus_application

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import Metric

LOOPBACK = pytest.mark.parametrize("host", ["127.0.0.1", "::1"])


def says_hello(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8")])
    return [f"hello {environ['QUERY_STRING']}".encode()]


Served = Callable[..., WebServer]


@pytest.fixture
def served() -> Iterator[Served]:
    """Makes servers that answer, and closes them."""
    with contextlib.ExitStack() as stack:

        def make(host: str = "127.0.0.1", **applications: "WSGIApplication") -> WebServer:
            paths = {f"/{name}": each for name, each in applications.items()}
            made = WebServer(host, 0, {"/metrics": says_hello, **paths})
            stack.callback(made.close)
            made.start()
            return made

        yield make


@contextlib.contextmanager
def clients(address: tuple[Any, ...], number: int) -> Iterator[list[socket.socket]]:
    """So many connections that say nothing by themselves."""
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(socket.create_connection((str(address[0]), address[1]), PATIENCE))
            for _ in range(number)
        ]


# ---- applications --------------------------------------------------------------------------------


@LOOPBACK
def test_an_application_answers_at_its_path(served: Served, host: str) -> None:
    address = served(host=host).address
    assert (str(address.address), address.port > 0) == (host, True)
    status, headers, text = get(address, "/metrics?who=you")
    assert (status, headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert text == "hello who=you"


def test_another_path_is_not_found(served: Served) -> None:
    address = served().address
    assert get(address, "/")[0] == 404
    assert get(address, "/metrics/more")[0] == 404


def test_an_exception_is_an_answer_and_a_line_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        raise KeyError("counters")

    address = served(broken=fails).address
    with caplog.at_level(logging.ERROR, logger="twamp.exporter"):
        status, _, text = get(address, "/broken")
    assert (status, text) == (500, "the metrics cannot be read\n")
    assert [record.getMessage() for record in caplog.records] == [
        "metrics cannot be read: KeyError: 'counters'"
    ]
    assert get(address)[0] == 200


def test_metrics_are_collected_only_for_a_scrape(served: Served) -> None:
    collections = 0

    def families(value: float | None) -> Iterator["Metric"]:
        from prometheus_client import Metric

        family = Metric("twamp_collections", "How often it was collected.", "gauge")
        if value is not None:
            family.add_sample("twamp_collections", {}, value)
        yield family

    def collect() -> Iterator["Metric"]:
        nonlocal collections
        collections += 1
        return families(collections)

    application = prometheus_application(collect, lambda: families(None))
    address = served(collected=application).address
    for number in (1, 2):
        assert f"twamp_collections {number}.0\n" in get(address, "/collected")[2]


def test_without_prometheus_client_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(ConfigError) as caught:
        prometheus_application(lambda: iter(()), lambda: iter(()))
    assert str(caught.value) == (
        "metrics-address: needs prometheus-client; pip install 'twamp[metrics]'"
    )


# ---- listening -----------------------------------------------------------------------------------


@LOOPBACK
def test_a_port_in_use_is_an_error(served: Served, host: str) -> None:
    address = served(host=host).address
    with pytest.raises(OSError, match="in use"):
        WebServer(host, address.port, {})


def test_close_frees_the_port_and_ends_requests(served: Served) -> None:
    first = served()
    with clients(first.address, 1) as (silent,):
        get(first.address)  # so that the silent one, which came before, has its thread
        first.close()
        assert ended(silent)
    first.close()
    with pytest.raises(OSError, match="refused"):
        get(first.address)
    never_started = WebServer("127.0.0.1", first.address.port, {})
    never_started.close()


# ---- clients that mean no good -------------------------------------------------------------------


def ended(client: socket.socket) -> bool:
    """Waits until the server ends the connection; False when it does not within PATIENCE."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_silent_clients_block_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SILENCE_SECONDS", 2 * PATIENCE)
    monkeypatch.setattr(web, "REQUEST_SECONDS", 2 * PATIENCE)
    address = served().address
    with clients(address, web.MAXIMUM_REQUESTS - 1):
        assert get(address)[0] == 200


def test_a_silent_client_is_ended(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(web, "REQUEST_SECONDS", 2 * PATIENCE)
    with clients(served().address, 2) as (one, other):
        other.sendall(b"GET /metrics HTT")
        assert ended(one)
        assert ended(other)


def test_an_octet_now_and_then_does_not_keep_a_connection(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "SILENCE_SECONDS", 2 * PATIENCE)
    monkeypatch.setattr(web, "REQUEST_SECONDS", 0.1)
    with clients(served().address, 1) as (client,):
        client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
        assert ended(client)


def test_more_clients_than_it_has_threads_for_are_closed_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web, "SILENCE_SECONDS", 2 * PATIENCE)
    monkeypatch.setattr(web, "REQUEST_SECONDS", 2 * PATIENCE)
    address = served().address
    with clients(address, web.MAXIMUM_REQUESTS + 1) as opened:
        assert ended(opened[-1])
        opened[0].close()  # its thread sees that and makes room
        assert served_at_last(address)


def served_at_last(address: tuple[Any, ...]) -> bool:
    """Whether one of many scrapes, one after the other, is answered."""
    for _ in range(10_000):
        with contextlib.suppress(OSError, http.client.HTTPException):
            return get(address)[0] == 200
    return False
