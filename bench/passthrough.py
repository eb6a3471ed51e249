"""The least a proxy in Python can do, as a yardstick: pass bytes on. No HTTP, no checks, no captures.

python bench/passthrough.py PORT TARGET_HOST TARGET_PORT
"""

import asyncio
import sys

import uvloop


class Relay(asyncio.Protocol):
    """One side of a connection; what it reads its other side writes."""

    def __init__(self, target: tuple[str, int] | None) -> None:
        self.target = target
        self.other: Relay | None = None
        self.early: list[bytes] = []
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        if self.target is not None:
            self.connecting = asyncio.ensure_future(self.connect(*self.target))

    async def connect(self, host: str, port: int) -> None:
        _, other = await asyncio.get_running_loop().create_connection(lambda: Relay(None), host, port)
        self.other, other.other = other, self
        other.transport.writelines(self.early)

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early.append(data)
        else:
            self.other.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.transport.close()


async def main(port: int, target: tuple[str, int]) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Relay(target), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), (sys.argv[2], int(sys.argv[3]))))
