"""The manifest of the sources' folder in the workspace: what was uploaded, what runs, and how to roll back."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Entry:
    """One uploaded file. `modified` is its modification time as the workspace returns it."""

    sha256: str
    size: int
    modified: int | None = None

    @classmethod
    def of(cls, content: bytes, modified: int | None = None) -> "Entry":
        """The entry of these contents."""
        return cls(hashlib.sha256(content).hexdigest(), len(content), modified)


UNKNOWN = Entry("", 0)
"""The entry of a file that is about to be changed: a deployment uploaded it, with unknown contents."""

UNKNOWN_START = "unknown"
"""Stands for an unknown digest of a deployment's command and environment."""


@dataclass(frozen=True, slots=True)
class Undo:
    """How to bring the folder back to the sources of `deployment`."""

    deployment: str
    existed: frozenset[str] = frozenset()
    """Files that have a copy of their contents at that deployment."""

    added: frozenset[str] = frozenset()
    """Files that did not exist at that deployment."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """The files as they were uploaded. `deployment` passed the smoke test with exactly these."""

    files: Mapping[str, Entry] = field(default_factory=dict)
    deployment: str | None = None
    undo: Undo | None = None
    started: str = ""
    """The digest of the deployment's command and environment. Empty if app.yaml alone has both."""

    @property
    def own(self) -> frozenset[str]:
        """Every path that a deployment uploaded, or may have uploaded before it broke off."""
        return frozenset(self.files) | (self.undo.existed | self.undo.added if self.undo else frozenset())

    def to_json(self) -> bytes:
        """The stored form."""
        files = {path: [one.sha256, one.size, one.modified] for path, one in sorted(self.files.items())}
        undo = self.undo and [self.undo.deployment, sorted(self.undo.existed), sorted(self.undo.added)]
        whole = {"version": 1, "deployment": self.deployment, "started": self.started, "undo": undo, "files": files}
        return json.dumps(whole, indent=1).encode()

    @classmethod
    def of_json(cls, data: bytes) -> "Manifest":
        """Parse the stored form. An unreadable manifest counts as empty, so everything is uploaded again."""
        try:
            value = json.loads(data)
            # A later version may have another meaning. Uploading everything again is always safe.
            if value["version"] != 1:
                return cls()
            files = {path: Entry(str(one[0]), int(one[1]), one[2]) for path, one in value["files"].items()}
            undo = value["undo"] and Undo(value["undo"][0], frozenset(value["undo"][1]), frozenset(value["undo"][2]))
            # A manifest of an earlier version has no `started`.
            return cls(files, value["deployment"], undo, str(value.get("started", "")))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            return cls()
