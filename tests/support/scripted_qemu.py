"""A program that stands in for QEMU: it plays a scenario on its two serial ports, a file and a socket.

The scenario is the Python file given as ``-kernel``, run with the names below; ``-append`` is the nonce.
"""

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from io import FileIO
from pathlib import Path

from kmodpipe.vm.protocol import encode_record


def _argument(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def _port(kind: str) -> str:
    (spec,) = [a for a in sys.argv if a.startswith(kind)]
    return spec.removeprefix(kind)


class Guest:
    """What a scenario can do."""

    def __init__(self) -> None:
        self.nonce = _argument("-append")
        self._console = FileIO(_port("file,id=console,path="), "w")
        self._channel = socket.socket(fileno=int(_port("socket,id=channel,fd=")))
        self.seq = 0

    def console(self, text: str | bytes) -> None:
        self._console.write(text if isinstance(text, bytes) else text.encode())

    def raw(self, data: bytes) -> None:
        self._channel.sendall(data)

    def line(self, kind: str, **fields: str | bytes | int) -> bytes:
        self.seq += 1
        return encode_record(self.nonce, self.seq - 1, kind, fields)

    def send(self, kind: str, **fields: str | bytes | int) -> None:
        self.raw(self.line(kind, **fields))

    def case(self, index: int, text: str = "") -> None:
        self.send("start", case=index, id=f"case-{index}")
        if text:
            self.console(text)
        self.send("end", case=index, how="exit", status=0, ms=1)

    def hear(self, seconds: float) -> bytes:
        """What the host says within so many seconds."""
        heard, until = b"", time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._channel.settimeout(left)
            with suppress(TimeoutError):
                heard += self._channel.recv(4096)
        self._channel.settimeout(None)
        return heard

    def stay(self) -> None:
        time.sleep(60)


if __name__ == "__main__":
    scenario = Path(_argument("-kernel"))
    scope = {"guest": Guest(), "os": os, "signal": signal, "sys": sys, "time": time}
    exec(compile(scenario.read_text(), str(scenario), "exec"), scope)
