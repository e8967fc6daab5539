"""A real `mlflow server` on loopback that can be killed, and a proxy before it that loses answers or stalls."""

import contextlib
import http.client
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


def free_port():
    """A port that is free and stays so: below those that the kernel gives to whoever asks for any."""
    first = 32768
    with contextlib.suppress(OSError):
        first = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.SystemRandom().randrange(min(10_000, first // 2), first)
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port


class Server:
    """An MLflow server with a SQLite store of its own, a copy of an empty one; starting takes about five seconds."""

    def __init__(self, folder: pathlib.Path, empty: pathlib.Path):
        shutil.copy(empty, folder / "mlflow.db")
        self.folder, self.port, self.process = folder, free_port(), None
        self.uri = f"http://127.0.0.1:{self.port}"
        self.store = f"sqlite:///{folder / 'mlflow.db'}"

    def start(self):
        command = [
            sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1",
            "--backend-store-uri", self.store,
            "--artifacts-destination", str(self.folder / "artifacts"),
        ]  # fmt: skip
        quick = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | quick, stdout=log, stderr=log, start_new_session=True
            )
        while not self.healthy():
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            time.sleep(0.1)

    def healthy(self):
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        return False

    def artifacts(self, run):
        """The folder with the artifacts of a run."""
        return self.folder / "artifacts" / run.info.artifact_uri.removeprefix("mlflow-artifacts:/")

    def kill(self):
        """SIGKILL for the server and the processes that it started."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


class Proxy:
    """Forwards requests to a server, all of which it counts.

    Attributes:
        requests: method and path of all that came.
        meet: `meet(number, path)` says what to do with a request: `None` to forward it, "lost" to forward it and lose
            the answer, "stall" to do nothing until the proxy is closed, "late" to hang up and keep it until
            `forward_late`, or a function to call once the server has answered, after which the answer is lost.
    """

    def __init__(self, port: int):
        self.requests, self.meet, self.closing = [], lambda number, path: None, threading.Event()
        self.late = []
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":  # an empty file is sent like that
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size + 2)[:-2]
                proxy.requests.append(f"{self.command} {self.path}")
                what = proxy.meet(len(proxy.requests), self.path)
                self.close_connection = True
                if what == "stall":
                    proxy.closing.wait()
                    return
                if what == "late":
                    proxy.late.append(lambda: self.ask(body))
                    return
                status, answer, kind = self.ask(body)
                if callable(what):
                    what()
                if what is None:
                    self.send_response(status)
                    self.send_header("Content-Type", kind)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            def ask(self, body):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
                skipped = ("host", "connection", "transfer-encoding", "content-length")
                headers = {k: v for k, v in self.headers.items() if k.lower() not in skipped}
                try:
                    connection.request(self.command, self.path, body, headers)
                    response = connection.getresponse()
                    return response.status, response.read(), response.getheader("Content-Type", "application/json")
                except OSError:
                    return 502, b"{}", "application/json"
                finally:
                    connection.close()

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = forward

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.uri = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def forward_late(self):
        """Forwards the requests that were kept; returns how many the server has carried out."""
        statuses = [ask()[0] for ask in self.late]
        self.late = []
        return statuses.count(200)

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture(scope="session")
def empty_store(once):
    """An MLflow store in SQLite without an experiment, to be copied: its migrations take six seconds."""

    def make(folder):
        from experiments.tracking.mlflow_mirror import Mirror

        Mirror(f"sqlite:///{folder / 'mlflow.db'}", "Default", folder / "artifacts")._store.open()

    return once("mlflow", make) / "mlflow.db"


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory, empty_store):
    """A running server; a test that kills it starts it again."""
    server = Server(tmp_path_factory.mktemp("server"), empty_store)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def proxy(mlflow_server):
    """A proxy before the server that so far only forwards."""
    made = Proxy(mlflow_server.port)
    made.behind = mlflow_server
    yield made
    made.close()
