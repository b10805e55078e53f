"""What a request asks of the models of its run, such as a temperature, for those that `chat_model` makes."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

TEMPERATURE, TOP_P, TOKENS = "temperature", "top_p", "max_output_tokens"
EFFORT, VERBOSITY = "reasoning.effort", "text.verbosity"
TRUNCATION, WHOLE = "truncation", "disabled"
"""Whether a conversation that is too long for a model is shortened. `WHOLE`: it is not."""

PROBABILITIES = "top_logprobs"
"""How many of the likeliest tokens are told with each token of an answer, and their probabilities. 0: it alone."""

TAKES_PROBABILITIES = "graph_agent_takes_logprobs"
"""The mark of a node whose model may be asked for probabilities."""


ALWAYS = frozenset({TOKENS})
"""Options that have an effect in any graph: the budget of the run is one."""


F = TypeVar("F", bound=Callable[..., Any])


def takes_logprobs(node: F) -> F:
    """Mark a node whose model is one of `chat_model`: requests may ask for the probabilities of its tokens.

    The nodes of `make_planner` are marked. A request that asks for them is refused by graphs without such a node.
    """
    setattr(node, TAKES_PROBABILITIES, True)
    return node


class ModelOptions:
    """The options of one request, by their paths in it, and those that have reached a model."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self._reached: set[str] = set()

    def reached(self, option: str) -> None:
        """A model was asked with this option."""
        self._reached.add(option)

    @property
    def warnings(self) -> list[str]:
        """One sentence for each option that has reached no model so far."""
        return [
            f"`{option}` has no effect: no model of the graph takes it from a request, or the graph sets it itself."
            for option in self.values
            if option not in self._reached and option not in ALWAYS
        ]


NO_OPTIONS = ModelOptions({})

_current: ContextVar[ModelOptions] = ContextVar("graph_agent_model_options", default=NO_OPTIONS)


def current_model_options() -> ModelOptions:
    """The options of the current run. There are none outside of a run."""
    return _current.get()


@contextmanager
def within_model_options(options: ModelOptions) -> Iterator[None]:
    """Within this context the run has these options, also in tasks that start in it."""
    token = _current.set(options)
    try:
        yield
    finally:
        _current.reset(token)
