"""A TCP proxy between a test and a server: it delays, loses replies, and cuts connections, when it is told to."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from typing import Any


class Proxy:
    """
    Stand before the server at *port*: `with Proxy(server.port) as proxy`; clients connect to `proxy.port`.

    Args:
        port: of the server, on loopback.

    `delay`: seconds that each reply is held back. `lose`: bytes of requests whose reply is lost, once each; `lost`:
    how many were. `swallow`: bytes of requests that never arrive; `swallowed`: how many did not.
    """

    def __init__(self, port: int) -> None:
        self._server = port
        self.delay = 0.0
        self.lose: list[bytes] = []
        self.lost = 0
        self.swallow: list[bytes] = []
        self.swallowed = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._losing: set[int] = set()
        self._listener: socket.socket | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Proxy:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Take connections, on the same port as before."""
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections, and cut those that there are."""
        listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection; new ones are taken."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for each in pair:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                if self._listener is not listener:
                    return
                continue
            pair = (client, server)
            self._pairs.append(pair)
            for move in (self._up, self._down):
                threading.Thread(target=self._move, args=(move, *pair), daemon=True).start()

    def _move(self, move: Any, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            move(client, server)
        for each in (client, server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        while data := client.recv(65536):
            if any(word in data for word in self.swallow):
                self.swallowed += 1
                continue
            for word in list(self.lose):
                if word in data:
                    self.lose.remove(word)
                    self._losing.add(id(server))
            server.sendall(data)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        while data := server.recv(65536):
            if id(server) in self._losing:
                self._losing.discard(id(server))
                self.lost += 1
                continue
            if self.delay:
                time.sleep(self.delay)
            client.sendall(data)
