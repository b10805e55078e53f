"""Errors of an evaluation. Their messages say what to change.

ConfigurationError
└── EvalError
    ├── BadDataset         names file, line and field
    ├── BadProjectFile     the project's scorers or scripted model do not load
    ├── BadRecords         a file of records or scores cannot be read
    ├── BadBaseline        there is no baseline, or it cannot be read or written
    └── AgentUnreachable   the agent does not answer
"""

from graph_agent.errors import ConfigurationError


class EvalError(ConfigurationError):
    """An evaluation cannot start or cannot continue."""

    code = "eval_error"


class BadDataset(EvalError):
    """A dataset, or a row of it, is wrong; `param` names the field."""


class BadProjectFile(EvalError):
    """A Python file that a project has for its evaluations does not load, or does not define what it must."""


class BadRecords(EvalError):
    """A file of records or scores cannot be read."""


class BadBaseline(EvalError):
    """There is no baseline, it cannot be read, or these answers cannot become one."""


class AgentUnreachable(EvalError):
    """The agent does not answer, or rejects the credentials."""
