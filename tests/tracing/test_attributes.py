"""What a trace says of itself as a whole."""

from graph_agent.tracing import RunRecorder
from graph_agent.tracing.attributes import trace_attributes, usage_of

CALL = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}


def recorder_with_two_calls() -> RunRecorder:
    recorder = RunRecorder(graph="assistant", inputs=None, session="s" * 300, user="u" * 300)
    for _ in range(2):
        recorder.retrieved(query="", documents=[], name="call", start_ns=1, end_ns=2)
        recorder.spans[-1].attributes["mlflow.chat.tokenUsage"] = CALL
    return recorder


def test_tokens_of_a_run_are_the_sum_over_its_calls() -> None:
    assert usage_of(recorder_with_two_calls().close()) == {"input_tokens": 14, "output_tokens": 6, "total_tokens": 20}


def test_tokens_counted_for_the_whole_run_win_over_the_sum() -> None:
    # ChatDatabricks reports the tokens of a streamed call twice.
    record = recorder_with_two_calls().close(attributes={"mlflow.chat.tokenUsage": CALL})

    assert usage_of(record) == CALL


def test_a_run_without_counted_tokens_has_none() -> None:
    assert usage_of(RunRecorder(graph="assistant", inputs=None).close()) == {}


def test_sessions_and_users_are_cut_to_what_mlflow_takes() -> None:
    named = dict(trace_attributes(recorder_with_two_calls().close()))

    assert (named["session.id"], named["user.id"]) == ("s" * 250, "u" * 250)
