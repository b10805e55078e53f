"""What can be wrong with an evaluation before it judges anything; messages say what to change.

ConfigurationError
└── EvalError
    ├── BadDataset         names file, line and field
    ├── BadRecords         a records file that cannot be continued
    ├── BadBaseline        the committed baseline cannot be read, or there is none
    └── AgentUnreachable   the agent to be judged does not answer
"""

from graph_agent.errors import ConfigurationError


class EvalError(ConfigurationError):
    """An evaluation that cannot begin or go on."""

    code = "eval_error"


class BadDataset(EvalError):
    """A row that is not one; `param` is its field."""


class BadRecords(EvalError):
    """A file of records that cannot be read."""


class BadBaseline(EvalError):
    """No baseline, or one that cannot be read."""


class AgentUnreachable(EvalError):
    """Nothing to judge: the agent does not answer at all, or refuses the credentials."""
