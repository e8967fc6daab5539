"""A real PostgreSQL on the loopback address, for as long as a test needs it."""

import contextlib
import os
import pathlib
import pwd
import random
import shutil
import socket
import subprocess
import tempfile
import time

PASSWORD = "open-sesame-4711"


def free_port():
    """A port that no outgoing connection is given (those of Linux begin at 32768), so that it can be taken again after
    the server was stopped; which one is drawn, for several tests look at one moment."""
    while True:
        port = random.SystemRandom().randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def binaries(readable):
    """Directory of `initdb` and `postgres`: of the package pgserver (as a copy in the folder `readable`, because
    an environment of root's may lie where nobody else may look), or of the system."""
    try:
        import pgserver

        package = pathlib.Path(pgserver.__file__).parent
        for name in ("pgserver", "pgserver.libs"):  # the programs look for their libraries beside the package
            if (package.parent / name).is_dir():
                shutil.copytree(package.parent / name, readable / name, symlinks=True)
        return readable / "pgserver" / "pginstall" / "bin"
    except ImportError:
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        return found[-1].parent if found else pathlib.Path(shutil.which("initdb") or "/missing/initdb").parent


class Postgres:
    """The server; PostgreSQL refuses to run as root, so root runs it as nobody."""

    def __init__(self):
        self.port, self.process = free_port(), None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pg"))
        self.bin = binaries(self.folder)
        self.who = {}
        if os.geteuid() == 0:
            entry = pwd.getpwnam("nobody")
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
            self.who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        (self.folder / "password").write_text(PASSWORD)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", "uflow", "-A", "scram-sha-256", "--no-sync", "-N",
                  "--pwfile", str(self.folder / "password"), "-E", "UTF8", "--locale", "C")  # fmt: skip
        self.url = f"postgresql://uflow:{PASSWORD}@127.0.0.1:{self.port}/postgres"

    def _run(self, name, *words):
        environment = os.environ | {"HOME": str(self.folder), "LC_ALL": "C"}
        done = subprocess.run([self.bin / name, *words], cwd=self.folder, env=environment, capture_output=True,
                              text=True, **self.who)  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self):
        words = ["-D", str(self.folder / "data"), "-h", "127.0.0.1", "-p", str(self.port), "-k", "", "-F"]
        words += ["-c", "max_connections=60", "-c", "fsync=on"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen([self.bin / "postgres", *words], cwd=self.folder, stdout=log, stderr=log,
                                            env=os.environ | {"LC_ALL": "C"}, **self.who)  # fmt: skip
        deadline = time.monotonic() + 1000
        while time.monotonic() < deadline:
            try:
                self.query("select 1")
                return self
            except Exception:
                assert self.process.poll() is None, (self.folder / "log").read_text()
                time.sleep(0.1)
        raise AssertionError((self.folder / "log").read_text())

    def query(self, text):
        import psycopg

        with psycopg.connect(self.url, connect_timeout=60) as connection:
            cursor = connection.execute(text)
            return cursor.fetchall() if cursor.description else []

    def query_outside(self, text):
        """What PostgreSQL does not do in a transaction."""
        import psycopg

        with psycopg.connect(self.url, connect_timeout=60, autocommit=True) as connection:
            connection.execute(text)

    def stop(self, number=2):
        """SIGINT ends all connections at once (fast), SIGQUIT is a crash (immediate)."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(timeout=1000)
            self.process = None

    def remove(self):
        self.stop(3)
        shutil.rmtree(self.folder, ignore_errors=True)
