"""Large files go from socket to socket inside the kernel: every byte, no byte of the next request, and broken ends are noticed."""

import hashlib
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import pytest

from apps.registry.gateways import forward, pipe, pool

SIZE = 5 * 1024 * 1024 + 77


class Reader:
    """What the web server knows of a body that it has not read."""

    def __init__(self, length: int) -> None:
        self.length = length


@pytest.fixture
def server() -> Iterator[Callable[[Callable[[socket.socket], None]], Any]]:
    """server(serve) -> pool of connections to a server whose one connection `serve` is given."""
    opened: list[Any] = []

    def make(serve: Callable[[socket.socket], None]) -> pool.Pool:
        listening = socket.create_server(("127.0.0.1", 0))

        def run() -> None:
            made, _ = listening.accept()
            with made:
                serve(made)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        opened.append((listening, thread))
        return pool.Pool(urlsplit(f"http://127.0.0.1:{listening.getsockname()[1]}"))

    yield make
    for listening, thread in opened:
        thread.join(20)
        listening.close()


def head_of(sock: socket.socket) -> bytes:
    """Everything up to the empty line, and nothing of what follows."""
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        got += sock.recv(1)
    return got


def receive(sock: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (piece := sock.recv(min(1 << 20, size - len(got)))):
        got += piece
    return bytes(got)


@pytest.mark.parametrize("ahead", [0, 1000])
def test_an_upload_arrives_whole_and_the_next_request_stays_where_it_is(server, settings, ahead):
    sent, arrived = os.urandom(SIZE), []

    def serve(sock):
        head_of(sock)
        arrived.append(receive(sock, SIZE))
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    settings.MLFLOW_URL = server(serve).url.geturl()
    ours, callers = socket.socketpair()
    with closing(ours), closing(callers):
        threading.Thread(target=callers.sendall, args=(sent[ahead:] + b"GET /next",), daemon=True).start()
        reader = Reader(SIZE - ahead)
        body = pipe.Body(ours, sent[:ahead], reader)
        with forward.send("PUT", "/file", headers={"Content-Length": str(SIZE)}, content=body) as answer:
            assert answer.read(100) == b"{}"
        assert hashlib.sha256(arrived[0]).digest() == hashlib.sha256(sent).digest()
        assert reader.length == 0 and ours.recv(100) == b"GET /next"


def test_a_caller_who_ends_early_is_named_as_the_one_who_did(server, settings):
    settings.MLFLOW_URL = server(lambda sock: (head_of(sock), receive(sock, SIZE))).url.geturl()
    ours, callers = socket.socketpair()
    with closing(ours):
        threading.Thread(target=lambda: (callers.sendall(bytes(SIZE // 2)), callers.close()), daemon=True).start()
        reader = Reader(SIZE)
        with pytest.raises(ConnectionResetError, match="the caller ended"):
            forward.send("PUT", "/file", headers={"Content-Length": str(SIZE)}, content=pipe.Body(ours, b"", reader))
        assert reader.length == 0


def test_a_refusal_in_the_middle_of_an_upload_is_read_as_the_answer(server, settings):
    def refuse(sock):
        head_of(sock)
        sock.sendall(b"HTTP/1.1 507 Full\r\nContent-Length: 4\r\nConnection: close\r\n\r\nfull")
        sock.shutdown(socket.SHUT_WR)
        receive(sock, SIZE)

    settings.MLFLOW_URL = server(refuse).url.geturl()
    ours, callers = socket.socketpair()
    with closing(ours), closing(callers):
        threading.Thread(target=callers.sendall, args=(bytes(SIZE),), daemon=True).start()
        with forward.send("PUT", "/file", headers={"Content-Length": str(SIZE)}, content=pipe.Body(ours, b"", Reader(SIZE))) as answer:
            assert answer.status == 507 and answer.read(100) == b"full"


def _answer(size: int, data: bytes) -> Callable[[socket.socket], None]:
    def serve(sock: socket.socket) -> None:
        head_of(sock)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + data)

    return serve


def test_a_download_goes_out_behind_the_first_piece_and_its_connection_is_kept(server, settings):
    data = os.urandom(SIZE)
    settings.MLFLOW_URL = server(_answer(SIZE, data)).url.geturl()
    home = pool.to(settings.MLFLOW_URL)
    answer = forward.send("GET", "/file", headers={})
    ours, callers = socket.socketpair()
    with closing(ours), closing(callers):
        got: list[bytes] = []
        reading = threading.Thread(target=lambda: got.append(receive(callers, SIZE)), daemon=True)
        reading.start()
        answer.straight_to(ours)
        pieces = 0
        for piece in answer:
            ours.sendall(piece)
            pieces += len(piece)
        reading.join(20)
        assert got == [data] and pieces < pipe.LEAST_BYTES
    assert len(home._idle) == 1


def test_a_download_that_breaks_off_does_not_look_whole(server, settings):
    settings.MLFLOW_URL = server(_answer(SIZE, bytes(SIZE - 5))).url.geturl()
    answer = forward.send("GET", "/file", headers={})
    ours, callers = socket.socketpair()
    with closing(ours), closing(callers):
        reading = threading.Thread(target=receive, args=(callers, SIZE), daemon=True)
        reading.start()
        answer.straight_to(ours)
        with pytest.raises(http.client.IncompleteRead):
            for piece in answer:
                ours.sendall(piece)
        ours.close()
        reading.join(20)
    assert pool.to(settings.MLFLOW_URL)._idle == []


def test_a_receiver_that_goes_away_ends_it(server, settings):
    settings.MLFLOW_URL = server(lambda sock: _swallowed(_answer(SIZE, bytes(SIZE)), sock)).url.geturl()
    answer = forward.send("GET", "/file", headers={})
    ours, callers = socket.socketpair()
    callers.close()
    answer.straight_to(ours)
    with closing(ours), pytest.raises(OSError, match=r"pipe|reset"):
        for piece in answer:
            ours.sendall(piece)


def _swallowed(serve: Callable[[socket.socket], None], sock: socket.socket) -> None:
    try:
        serve(sock)
    except OSError:
        """The other end is gone, as the test wants it."""


def test_what_is_encrypted_or_no_socket_is_read_here():
    ours, callers = socket.socketpair()
    with closing(callers):
        assert pipe.is_plain(ours, callers)
        assert not pipe.is_plain(ours, None) and not pipe.is_plain(object())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with closing(context.wrap_socket(ours, do_handshake_on_connect=False)) as wrapped:
            assert not pipe.is_plain(wrapped, callers)
