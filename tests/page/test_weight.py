"""What the page weighs."""

import gzip
import json
from pathlib import Path

import graph_agent

BUILT = Path(graph_agent.__file__).parent / "page"
MOST_BYTES = 250 * 1000


def test_the_page_stays_light() -> None:
    manifest = json.loads((BUILT / "manifest.json").read_text(encoding="utf-8"))
    files = {BUILT / "index.html"}
    for entry in manifest.values():
        files.update(BUILT / name for name in [entry["file"], *entry.get("css", []), *entry.get("assets", [])])
    weight = {path.name: len(gzip.compress(path.read_bytes())) for path in files}
    assert sum(weight.values()) <= MOST_BYTES, weight
