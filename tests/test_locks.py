"""The locks: complete with hashes, free of index addresses, and of one mind. `test_model_package.py` installs them."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ["requirements.txt", "requirements-local.txt", "requirements-dev.txt", "requirements-uv.txt"]
STUDIO = "requirements-studio.txt"
PIN = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)( ; .+?)? \\$")


def pins(lock: str) -> set[tuple[str, str, str]]:
    lines = (ROOT / lock).read_text().splitlines()
    return {(m[1], m[2], m[3] or "") for line in lines if (m := PIN.match(line))}


@pytest.mark.parametrize("lock", [*LOCKS, STUDIO])
def test_every_line_of_a_lock_is_a_pin_or_its_hash(lock: str) -> None:
    for line in (ROOT / lock).read_text().splitlines():
        assert PIN.match(line) or re.match(r"^    --hash=sha256:[0-9a-f]{64}( \\)?$", line), line


def test_the_locks_agree_with_each_other() -> None:
    # Without the platforms: a package that one lock has on Windows alone, a larger one may have everywhere.
    service, local, dev, uv = ({(name, version) for name, version, _ in pins(lock)} for lock in LOCKS)
    assert service <= local <= dev
    assert uv <= dev


def test_studio_runs_the_graphs_with_the_service_s_versions_but_for_what_its_server_refuses() -> None:
    service, studio = ({(name, version) for name, version, _ in pins(lock)} for lock in ("requirements.txt", STUDIO))
    assert {name for name, _ in service - studio} == {"protobuf", "grpcio", "grpcio-status"}
