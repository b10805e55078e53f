"""What came over the wire for one row, kept as one JSON line; a run that was stopped goes on from its file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from graph_agent.evaluating.errors import BadRecords

Json = Mapping[str, Any]

Reuse = Literal["none", "stopped", "finished"]

FINISHED = {"finished": True}
"""The last line of a run that asked every row."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """One request and its answer. Seconds are of the runner's own clock, from sending the request."""

    question: str
    answer: str = ""
    status: str = "none"
    """Of the response: completed, incomplete or failed; none where no response ended the stream."""

    error: Json | None = None
    """`code` and `message`, of the stream or of a refused request."""

    items: list[Json] = field(default_factory=list)
    """The response's output, in order: messages, calls and their results."""

    calls: list[Json] = field(default_factory=list)
    """`name`, `arguments` (an object, or the text that was no JSON), `output` and `call_id` of each tool call."""

    retrieved: list[Json] = field(default_factory=list)
    """`doc_uri`, `chunk_id`, `title`, `score`, `number` and `cited` of each passage, in the order found."""

    cited: list[str] = field(default_factory=list)
    """Addresses of the answer's annotations."""

    usage: Json = field(default_factory=dict)
    first_token_seconds: float | None = None
    seconds: float = 0.0
    trace_id: str | None = None
    response_id: str | None = None
    problems: list[str] = field(default_factory=list)
    """Rules of the stream's grammar that were broken."""


@dataclass(slots=True, kw_only=True)
class Record:
    """One row, asked."""

    id: str
    digest: str
    """Of the row as it was asked."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def last(self) -> Turn:
        """The turn that the row's expectations are about."""
        return self.turns[-1]

    @property
    def seconds(self) -> float:
        """Of all turns."""
        return sum(turn.seconds for turn in self.turns)

    def json(self) -> dict[str, Any]:
        """As it is kept."""
        return asdict(self)

    @classmethod
    def of(cls, value: Any) -> Self:
        """What `json` gave."""
        known = {one.name for one in fields(Turn)}
        if not isinstance(value, dict) or not isinstance(value.get("turns"), list) or not value["turns"]:
            raise BadRecords("a line is no record")
        turns = [Turn(**{key: part for key, part in turn.items() if key in known}) for turn in value["turns"]]
        return cls(id=value["id"], digest=value["digest"], turns=turns)


class RecordsFile:
    """Records appended row by row. The first line says of what; the last, once all is done, that it is finished.

    `reuse` says which records of an earlier run of the same subject are taken: of one that was stopped, of a finished
    one too, or none.
    """

    def __init__(self, path: Path, subject: Json, *, reuse: Reuse = "stopped") -> None:
        self.path = path
        self._subject = dict(subject)
        self._reuse = reuse

    def begin(self) -> dict[str, Record]:
        """The records of an earlier run that can be gone on with; else a new file and none."""
        found = self._earlier()
        if found is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(_line({"subject": self._subject}), encoding="utf-8")
            return {}
        return found

    def append(self, record: Record) -> None:
        """Keep one more."""
        self._write(record.json())

    def finish(self) -> None:
        """All rows are there: the next run begins anew."""
        self._write(FINISHED)

    def _write(self, value: Json) -> None:
        # An answer may hold half a surrogate pair; its escape is JSON too.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(_line(value))

    def _earlier(self) -> dict[str, Record] | None:
        if self._reuse == "none" or not self.path.exists():
            return None
        lines = _parsed(self.path)
        if not lines or lines[0] != {"subject": self._subject}:
            return None
        if lines[-1] == FINISHED and self._reuse != "finished":
            return None
        lines = [line for line in lines if line != FINISHED]
        records = [Record.of(line) for line in lines[1:]]
        # A line that was being written when the run was stopped is written over.
        self.path.write_text("".join(map(_line, lines)), encoding="utf-8", errors="backslashreplace")
        return {record.id: record for record in records}


def read_records(path: Path) -> tuple[Json, list[Record]]:
    """The subject and the records of a file.

    Raises:
        BadRecords: it cannot be read, or is none.
    """
    try:
        lines = _parsed(path)
        subject = lines[0]["subject"]
    except (OSError, IndexError, KeyError, TypeError) as error:
        raise BadRecords(f"{path} holds no records ({type(error).__name__}); run graph-agent eval first") from None
    return subject, [Record.of(line) for line in lines[1:] if line != FINISHED]


def _parsed(path: Path) -> list[Any]:
    # As bytes: an answer may hold Unicode's line separators, and a last line may end within a character.
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
        except ValueError:
            if number == len(lines):
                break
            raise BadRecords(f"{path}:{number} is no JSON; delete the file to begin anew") from None
    return values


def _line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
