"""One HTTP request to a server under test."""

import contextlib
import http.client
from typing import Any

PATIENCE = 30  # seconds after which a test gives up; none waits as long when all is well

Answer = tuple[int, dict[str, str], str]


def get(
    address: tuple[Any, ...], path: str = "/metrics", headers: dict[str, str] | None = None
) -> Answer:
    """One request on a connection of its own: status, headers, text."""
    with contextlib.closing(
        http.client.HTTPConnection(str(address[0]), address[1], timeout=PATIENCE)
    ) as connection:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return response.status, fields, response.read().decode()
