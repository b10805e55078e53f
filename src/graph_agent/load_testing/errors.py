"""The error of a load test that cannot start. Its message says what to change."""

from graph_agent.errors import ConfigurationError


class LoadRefused(ConfigurationError):
    """The load test cannot start: an option or the file of questions is wrong, or the first question got no answer."""

    code = "load_refused"
