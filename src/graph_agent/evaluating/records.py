"""Records of what the agent sent for each row, as JSON lines. A stopped evaluation continues from this file."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Self

from graph_agent.evaluating.errors import BadRecords

Json = Mapping[str, Any]

Reuse = Literal["none", "stopped", "finished"]

FINISHED = {"finished": True}
"""The last line of a file in which every row was asked."""


@dataclass(slots=True, kw_only=True)
class Turn:
    """One request and its answer. Seconds count from the moment the request was sent, by the clock of the runner."""

    question: str
    answer: str = ""
    status: str = "none"
    """The status of the response: `completed`, `incomplete` or `failed`. `refused` stands for an HTTP error status, and
    `none` for a stream that ended without a response."""

    error: Json | None = None
    """`code` and `message`, from the stream or from a refused request."""

    items: list[Json] = field(default_factory=list)
    """The output of the response in order: messages, calls and their results."""

    calls: list[Json] = field(default_factory=list)
    """`name`, `arguments` (an object, or the text if it was not JSON), `output` and `call_id` of each tool call."""

    retrieved: list[Json] = field(default_factory=list)
    """`doc_uri`, `chunk_id`, `title`, `score`, `number` and `cited` of each passage, in the order found."""

    cited: list[str] = field(default_factory=list)
    """Addresses of the answer's annotations."""

    usage: Json = field(default_factory=dict)
    first_token_seconds: float | None = None
    seconds: float = 0.0
    trace_id: str | None = None
    response_id: str | None = None
    conversation: str | None = None
    """The id of the conversation in which the response is stored."""

    problems: list[str] = field(default_factory=list)
    """Violations of the wire format in the stream."""

    @property
    def approvals(self) -> list[Json]:
        """The approvals that the response asks for."""
        return [item for item in self.items if item.get("type") == "mcp_approval_request"]


@dataclass(slots=True, kw_only=True)
class Record:
    """The turns of one row that was asked."""

    id: str
    digest: str
    """The digest of the row as it was asked."""

    turns: list[Turn] = field(default_factory=list)

    @property
    def last(self) -> Turn:
        """The last turn. The expectations of the row are about it."""
        return self.turns[-1]

    @property
    def seconds(self) -> float:
        """The total time of all turns."""
        return sum(turn.seconds for turn in self.turns)

    def json(self) -> dict[str, Any]:
        """Return the record as it is stored in the file."""
        return asdict(self)

    @classmethod
    def of(cls, value: Any) -> Self:
        """Create a record from the value that `json` returned."""
        # Fields of another version of this package are ignored.
        known = {one.name for one in fields(Turn)}
        if not isinstance(value, dict) or not isinstance(value.get("turns"), list) or not value["turns"]:
            raise BadRecords("a line is not a record; delete the file to start again")
        turns = [Turn(**{key: part for key, part in turn.items() if key in known}) for turn in value["turns"]]
        return cls(id=value["id"], digest=value["digest"], turns=turns)


class RecordsFile:
    """A file of records, one line for each row. The first line is the subject. The last line marks a complete file.

    `reuse` says which records of an earlier evaluation of the same subject are used again: `stopped` uses those of an
    evaluation that was stopped, `finished` also those of a finished one, and `none` uses none.
    """

    def __init__(self, path: Path, subject: Json, *, reuse: Reuse = "stopped") -> None:
        self.path = path
        self._subject = dict(subject)
        self._reuse = reuse

    def begin(self) -> dict[str, Record]:
        """Return the records of an earlier evaluation to continue from, by row. Without any, start a new file."""
        found = self._earlier()
        if found is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(_line({"subject": self._subject}), encoding="utf-8")
            return {}
        return found

    def append(self, record: Record) -> None:
        """Append one record."""
        self._write(record.json())

    def finish(self) -> None:
        """Mark the file as complete, so that the next evaluation starts again."""
        self._write(FINISHED)

    def _write(self, value: Json) -> None:
        # An answer may contain half a surrogate pair. It cannot be encoded as UTF-8, but its escape is valid JSON.
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
        # Writes the file again without a last line that was incomplete because the evaluation was stopped.
        self.path.write_text("".join(map(_line, lines)), encoding="utf-8", errors="backslashreplace")
        return {record.id: record for record in records}


def read_records(path: Path) -> tuple[Json, list[Record]]:
    """Read the subject and the records of a file.

    Raises:
        BadRecords: the file cannot be read, or does not contain records.
    """
    try:
        lines = _parsed(path)
        subject = lines[0]["subject"]
    except (OSError, IndexError, KeyError, TypeError) as error:
        raise BadRecords(f"{path} has no records ({type(error).__name__}); run graph-agent eval first") from None
    return subject, [Record.of(line) for line in lines[1:] if line != FINISHED]


def _parsed(path: Path) -> list[Any]:
    # Read as bytes: an answer may contain Unicode line separators, and the last line may end inside a character.
    lines = path.read_bytes().rstrip(b"\n").split(b"\n")
    values = []
    for number, line in enumerate(lines, 1):
        try:
            values.append(json.loads(line))
        except ValueError:
            if number == len(lines):
                break
            raise BadRecords(f"{path}:{number} is not JSON; delete the file to start again") from None
    return values


def _line(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False) + "\n"
