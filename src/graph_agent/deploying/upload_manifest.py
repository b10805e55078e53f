"""What is known of the sources' folder in the workspace: what was uploaded, what runs, and how to go back."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """What was uploaded as one file, and when the workspace says it was changed, in its own units."""

    sha256: str
    size: int
    modified: int | None = None

    @classmethod
    def of(cls, content: bytes, modified: int | None = None) -> "Entry":
        """The entry of these contents."""
        return cls(hashlib.sha256(content).hexdigest(), len(content), modified)


UNKNOWN = Entry("", 0)
"""Of a file about to be touched: it is a deployment's, with whatever contents."""

UNKNOWN_START = "unknown"
"""In place of the digest of what a deployment said of command and environment."""


@dataclass(frozen=True, slots=True)
class Undo:
    """How the folder is brought back to the sources of `deployment`."""

    deployment: str
    existed: frozenset[str] = frozenset()
    """Files whose contents of then are kept aside."""

    added: frozenset[str] = frozenset()
    """Files that were not there then."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files as they were uploaded. `deployment` was seen to work with exactly these."""

    files: Mapping[str, Entry] = field(default_factory=dict)
    deployment: str | None = None
    undo: Undo | None = None
    started: str = ""
    """A digest of what the deployment itself said of command and environment; empty where it left both to the file."""

    @property
    def own(self) -> frozenset[str]:
        """Every path that a deployment put there, or may have before it broke off."""
        return frozenset(self.files) | (self.undo.existed | self.undo.added if self.undo else frozenset())

    def to_json(self) -> bytes:
        """As it is stored."""
        files = {path: [one.sha256, one.size, one.modified] for path, one in sorted(self.files.items())}
        undo = self.undo and [self.undo.deployment, sorted(self.undo.existed), sorted(self.undo.added)]
        whole = {"version": 1, "deployment": self.deployment, "started": self.started, "undo": undo, "files": files}
        return json.dumps(whole, indent=1).encode()

    @classmethod
    def of_json(cls, data: bytes) -> "Manifest":
        """An unreadable manifest is an empty one: everything is uploaded again."""
        try:
            value = json.loads(data)
            if value["version"] != 1:
                return cls()
            files = {path: Entry(str(one[0]), int(one[1]), one[2]) for path, one in value["files"].items()}
            undo = value["undo"] and Undo(value["undo"][0], frozenset(value["undo"][1]), frozenset(value["undo"][2]))
            # One that was written by an earlier version says nothing of it.
            return cls(files, value["deployment"], undo, str(value.get("started", "")))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return cls()
