"""A receiver of webhooks that behaves badly: `python receiver.py PORT LOG BEHAVIOUR SEED`.

It knows nothing of the service: it is run as a process of its own, and killed. Every request is one JSON
line in LOG. Behaviours: `good`; `flaky` fails 9 of 10 times, in several ways, one of which is to store the
notice and to lose the answer; `hang` answers nothing; `drip` answers a byte at a time; `redirect`; `long`.
"""

import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAILURES = ("status", "busy", "broken", "cut", "lost")
FAILING_SHARE = 0.9
WORKING_S = 0.005
"""Seconds that it works on a notice: a second request for the same one in that time is noticed."""


class Receiver(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, port: int, log: Path, behaviour: str, seed: int) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.log, self.behaviour = log, behaviour
        self.random = random.Random(seed)
        self.lock = threading.Lock()
        self.in_flight: set[str] = set()

    def note(self, **facts: object) -> None:
        with self.lock, self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(facts, ensure_ascii=False) + "\n")

    def way(self) -> str:
        """How this request is to be treated."""
        if self.behaviour != "flaky":
            return self.behaviour
        with self.lock:
            fails = self.random.random() < FAILING_SHARE
            return self.random.choice(FAILURES) if fails else "good"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        event, way = self.headers["OnePerson-Event-Id"], self.server.way()
        with self.server.lock:
            alone = event not in self.server.in_flight
            self.server.in_flight.add(event)
        taken = way in ("good", "lost", "long")
        self.server.note(
            event=event, way=way, taken=taken, alone=alone, path=self.path,
            headers=dict(self.headers.items()), body=body.decode(),
        )  # fmt: skip
        time.sleep(WORKING_S)
        with self.server.lock:  # Before the answer: behind it the sender may come again.
            self.server.in_flight.discard(event)
        getattr(self, f"answer_{way}")()

    def answer_good(self) -> None:
        self._answer(204)

    def answer_status(self) -> None:
        self._answer(500, b"out of order")

    def answer_busy(self) -> None:
        self._answer(503, b"", {"Retry-After": "0"})

    def answer_broken(self) -> None:
        self.wfile.write(b"HTTQ what?\r\n\r\n")
        self.close_connection = True

    def answer_cut(self) -> None:
        self.close_connection = True

    answer_lost = answer_cut

    def answer_hang(self) -> None:
        time.sleep(600)

    def answer_drip(self) -> None:
        while True:
            self.wfile.write(b"H")
            self.wfile.flush()
            time.sleep(0.05)

    def answer_redirect(self) -> None:
        self._answer(307, b"", {"Location": f"http://127.0.0.1:{self.server.server_address[1]}/elsewhere"})

    def answer_long(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x" * 65536)
        except OSError:
            self.server.note(way="cut-off")
        self.close_connection = True

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    receiver = Receiver(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
    print(receiver.server_address[1], flush=True)
    receiver.serve_forever(poll_interval=0.05)
