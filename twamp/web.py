"""An HTTP server for metrics: WSGI applications, each at its path, served by few threads.

A client that is silent, or slow on purpose, loses its connection, and while :data:`MAXIMUM_REQUESTS`
are being answered any further connection is closed at once.

prometheus-client is an extra (``twamp[metrics]``): only :func:`prometheus_application` imports it.
"""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from twamp.endpoint import Endpoint
from twamp.errors import ConfigError

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client import Metric

MAXIMUM_REQUESTS = 16  # at once: Prometheus needs one, the rest is for people with curl
SILENCE_SECONDS = 5.0  # without an octet from the client, or without one that it takes
REQUEST_SECONDS = 15.0  # in all: an octet now and then does not keep a connection
ACCEPT_PAUSE_SECONDS = 0.1  # when the process is out of file descriptors

logger = logging.getLogger("twamp.exporter")


def prometheus_application(
    collect: Callable[[], Iterator["Metric"]], describe: Callable[[], Iterator["Metric"]]
) -> "WSGIApplication":
    """A WSGI application that serves the metric families of ``collect``.

    ``describe`` yields the same families without samples.  Raises
    :class:`~twamp.errors.ConfigError` when prometheus-client is not installed.
    """
    try:
        from prometheus_client import CollectorRegistry, make_wsgi_app
        from prometheus_client.registry import Collector
    except ImportError:
        raise ConfigError(
            "metrics-address: needs prometheus-client; pip install 'twamp[metrics]'"
        ) from None

    class GivenCollector(Collector):
        def collect(self) -> Iterator["Metric"]:
            return collect()

        def describe(self) -> Iterator["Metric"]:  # so that registering does not read the state
            return describe()

    registry = CollectorRegistry()
    registry.register(GivenCollector())
    return make_wsgi_app(registry)


def _guarded(applications: Mapping[str, "WSGIApplication"]) -> "WSGIApplication":
    """Calls the application of the request's path; an exception becomes status 500 and a line in the log."""

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        chosen = applications.get(environ["PATH_INFO"])
        if chosen is None:
            status, text = "404 Not Found", b"the metrics are at /metrics\n"
        else:
            try:
                return chosen(environ, start_response)
            except Exception as error:
                # An application may raise anything, and the program goes on.
                logger.error("metrics cannot be read: %s: %s", type(error).__name__, error)
                status, text = "500 Internal Server Error", b"the metrics cannot be read\n"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [text]

    return application


class _Handler(WSGIRequestHandler):
    """Answers one request; it logs at debug level, since scrapes come every few seconds."""

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(SILENCE_SECONDS)

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(f"%s {format}", self.client_address[0], *args)


class _HttpServer(ThreadingMixIn, WSGIServer):
    """A thread per request, :data:`MAXIMUM_REQUESTS` of them, each for :data:`REQUEST_SECONDS`."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int) -> None:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, sockaddr = infos[0][0], infos[0][4]
        self._lock = threading.Lock()
        self._deadlines: dict[socket.socket, float] = {}  # of the requests being answered
        super().__init__(sockaddr, _Handler)  # type: ignore[arg-type] # IPv6 has four fields

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's would ask the DNS for our name
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]
        self.setup_environ()

    def get_request(self) -> tuple[socket.socket, Any]:
        try:
            return super().get_request()
        except OSError as error:
            # EMFILE and its like stay until somebody closes something: do not spin on the backlog.
            logger.warning("cannot accept a scrape: %s", error)
            time.sleep(ACCEPT_PAUSE_SECONDS)
            raise

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            full = len(self._deadlines) >= MAXIMUM_REQUESTS
            if not full:
                self._deadlines[request] = time.monotonic() + REQUEST_SECONDS
        if full:
            logger.info("refused a scrape: %d are being answered already", MAXIMUM_REQUESTS)
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        # Every request ends here, also one for which no thread could be started.
        with self._lock:
            self._deadlines.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Ends the requests whose time is up; ``serve_forever`` calls this twice a second."""
        self.end_requests(time.monotonic())

    def end_requests(self, now: float) -> None:
        """Shuts the connections down that should have ended by ``now``: their threads then end."""
        with self._lock:
            for request, deadline in self._deadlines.items():
                if deadline <= now:
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A client that leaves or stays silent is no fault of ours: no traceback on stderr.
        logger.debug("a scrape from %s failed", client_address[0], exc_info=True)


class WebServer:
    """Serves applications, each at its path, on ``host`` (IPv4 or IPv6) and ``port`` (0: a free one).

    Several threads may call an application at a time.  An exception that it raises becomes status 500
    and a line in the log.

    Raises :class:`OSError` when it cannot bind.  Clients can connect once it is made; they are answered
    after :meth:`start`.
    """

    def __init__(self, host: str, port: int, applications: Mapping[str, "WSGIApplication"]) -> None:
        self._server = _HttpServer(host, port)
        self._server.set_app(_guarded(applications))
        self._address = Endpoint.from_sockaddr(self._server.socket.getsockname())
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> Endpoint:
        """The address and port that the server listens on."""
        return self._address

    def start(self) -> None:
        """Starts to answer requests, in a daemon thread."""
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="twamp-metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stops listening (within half a second) and ends all requests; a second call does nothing."""
        if self._thread is not None:
            self._server.shutdown()
            self._thread.join()
            self._thread = None
        self._server.server_close()
        self._server.end_requests(float("inf"))
