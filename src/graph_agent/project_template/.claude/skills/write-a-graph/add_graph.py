"""Adds a graph to langgraph.json: python add_graph.py NAME FILE. The other graphs stay as they are."""

import json
import sys
from pathlib import Path

LIST = Path("langgraph.json")


def main() -> int:
    """Add the graph, or name its file anew."""
    if len(sys.argv) != 3 or not LIST.is_file():
        print("usage: python add_graph.py NAME FILE, in the folder of langgraph.json", file=sys.stderr)
        return 2
    name, file = sys.argv[1], Path(sys.argv[2])
    if not file.is_file():
        print(f"there is no file {file}; write it first", file=sys.stderr)
        return 2
    listed = json.loads(LIST.read_text(encoding="utf-8"))
    target = f"./{file.as_posix()}:graph"
    entry = listed["graphs"].get(name)
    listed["graphs"][name] = {**entry, "path": target} if isinstance(entry, dict) else target
    LIST.write_text(json.dumps(listed, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{LIST} has {name}: {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
