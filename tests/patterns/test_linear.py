"""Every regular expression of the package takes time in proportion to the text, whoever wrote the text."""

import ast
import dataclasses
import importlib
import pkgutil
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import evals
import pytest
from tests.patterns.adversaries import Attack, attacks_on

import graph_agent
from graph_agent.redaction import Redactor, redact
from graph_agent.serving.secret_cookies import secret_cookies

ROOT = Path(__file__).parent.parent.parent
PACKAGES = (graph_agent, evals)
EXECUTED_ELSEWHERE = ("__main__", "agent_model", "table_model")
"""Modules that act when they are imported: programs, and what MLflow runs. The test of sources reads them too."""

SUSPICIOUS_SECONDS = 0.0015
"""CPU time of one use on a short text from which on it is measured with longer ones."""

MEASURED_SECONDS = 0.02
"""CPU time that is long enough to compare with."""

MOST_CHARACTERS = 400_000


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if info.name.rpartition(".")[2] not in EXECUTED_ELSEWHERE:
                yield importlib.import_module(info.name)


def patterns() -> dict[str, re.Pattern[Any]]:
    """Every compiled pattern that a module, class, dataclass or collection of ours holds, by where it is."""
    found: dict[re.Pattern[Any], str] = {}
    seen: set[int] = set()

    def look(value: Any, place: str) -> None:
        if isinstance(value, re.Pattern):
            found.setdefault(value, place)
            return
        if id(value) in seen:
            return
        seen.add(id(value))
        for name, one in parts(value):
            look(one, f"{place}{name}")

    def parts(value: Any) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            yield from ((f"[{key!r}]", one) for key, one in value.items())
        elif isinstance(value, list | tuple | set | frozenset):
            yield from ((f"[{index}]", one) for index, one in enumerate(value))
        elif isinstance(value, type) and ours(value):
            yield from ((f".{name}", one) for name, one in vars(value).items())
        elif dataclasses.is_dataclass(value) and ours(type(value)):
            yield from ((f".{field.name}", getattr(value, field.name, None)) for field in dataclasses.fields(value))
        elif isinstance(defaults := getattr(value, "__defaults__", None), tuple):
            yield from ((f".default{index}", one) for index, one in enumerate(defaults))

    for module in modules():
        for name, value in list(vars(module).items()):
            look(value, f"{module.__name__}.{name}")
    return {place: pattern for pattern, place in found.items()}


def ours(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in {package.__name__ for package in PACKAGES}


def seconds(use: Callable[[Any], Any], text: Any) -> float:
    began = time.thread_time()
    use(text)
    return time.thread_time() - began


def uses(pattern: re.Pattern[Any]) -> dict[str, Callable[[Any], Any]]:
    """`sub` searches from every place on, and goes on behind each match; `fullmatch` fails where others are content."""
    empty: Any = b"" if isinstance(pattern.pattern, bytes) else ""
    return {"sub": lambda text: pattern.sub(empty, text), "fullmatch": pattern.fullmatch, "match": pattern.match}


def grows_too_fast(use: Callable[[Any], Any], attack: Attack, *, as_bytes: bool = False) -> str | None:
    """How, if doubling the text costs three times as much or more."""

    def text(times: int) -> Any:
        made = attack.text(times)
        return made.encode("latin-1", "replace") if as_bytes else made

    for times in (4, 8, 12, 16, 20, 24):
        # Again, as a busy machine may have taken the caches.
        if all(seconds(use, text(times)) > MEASURED_SECONDS for _ in range(3)):
            return f"{len(attack.text(times))} characters take over {MEASURED_SECONDS} s: {attack}"
    times = max(32, 1_500 // len(attack.pump))
    if seconds(use, text(times)) < SUSPICIOUS_SECONDS:
        return None
    before = 0.0
    while len(attack.pump) * times < MOST_CHARACTERS:
        now = min(seconds(use, text(times)) for _ in range(2))
        if before > MEASURED_SECONDS / 4 and now > 3 * before:
            # Anew, as another process may have taken the cache.
            again = [
                [min(seconds(use, text(size)) for _ in range(3)) for size in (times // 2, times)] for _ in range(3)
            ]
            if all(doubled > 3 * single for single, doubled in again):
                single, doubled = again[-1]
                return f"{single * 1000:.1f} ms, doubled {doubled * 1000:.1f} ms: {attack}"
        if now > MEASURED_SECONDS * 4:
            return None
        before, times = now, times * 2
    return None


ALL = patterns()


@pytest.mark.parametrize("place", ALL)
def test_a_doubled_text_never_costs_three_times_as_much(place: str) -> None:
    pattern = ALL[place]
    as_bytes = isinstance(pattern.pattern, bytes)
    if as_bytes:
        flags = pattern.flags & ~re.UNICODE
        structure = re.compile(pattern.pattern.decode("latin-1"), flags)
    else:
        structure = pattern
    for attack in attacks_on(structure):
        for name, use in uses(pattern).items():
            assert grows_too_fast(use, attack, as_bytes=as_bytes) is None, name


MAKERS = {"graph_agent/redaction/kinds.py": {"_prefixed", "_after"}}
"""Functions that compile, called once at import: what they make is held by `KINDS`, and so among the patterns above."""

WRITTEN_BY_A_TEST = {"graph_agent/testing/recording.py": {"calls", "_add"}}
"""Functions of `graph_agent.testing` that take a pattern. The author of a test writes it, and no one else."""

OF_RE = ("compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer")


def sources() -> Iterator[Path]:
    for package in PACKAGES:
        yield from Path(package.__path__[0]).rglob("*.py")


def hidden_patterns(path: Path) -> list[str]:
    """Where a function uses `re` itself: such a pattern is compiled out of the sight of the test above."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    name = "/".join(path.parts[-3:])
    makers = next((names for place, names in (MAKERS | WRITTEN_BY_A_TEST).items() if name.endswith(place)), set())
    found = []
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            if getattr(function, "name", "") in makers:
                continue
            for node in ast.walk(function):
                match node:
                    case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=attribute)) if attribute in OF_RE:
                        found.append(f"{name}:{node.lineno} re.{attribute}")
    imported = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom) and one.module in ("re", "regex")]
    return found + [f"{name}:{one.lineno} from re import" for one in imported]


def test_every_pattern_is_one_of_a_module_where_the_test_above_finds_it() -> None:
    assert sorted(set().union(*map(hidden_patterns, sources()))) == []


def test_a_pattern_within_a_function_would_be_found(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text("import re\nclass A:\n    def f(self, text): return [re.sub('a*', '', one) for one in text]\n")
    assert [one.rpartition(" ")[2] for one in hidden_patterns(path)] == ["re.sub"]


@pytest.mark.parametrize("kind", ["exponential", "quadratic"])
def test_an_explosive_pattern_would_be_found(kind: str) -> None:
    explosive = re.compile({"exponential": r"(?:[~.]{0,2}/[\w.]{0,9}){1,20}!", "quadratic": r"\d+x"}[kind])
    use = uses(explosive)["sub"]
    assert any(grows_too_fast(use, attack) for attack in attacks_on(explosive))


@pytest.mark.parametrize("segment", ["/..", "/./", "./", "~/", "/.~"])
@pytest.mark.parametrize("name", ["api_key=", 'api_key="', "password=", 'token="', "--token="])
def test_a_request_line_of_a_hundred_characters_holds_nobody_up(segment: str, name: str) -> None:
    # Of 84 characters one took seconds, before anybody had shown who they are.
    assert any(seconds(redact, f"GET /?{name}{(segment * 40)[:84]}{{") < 0.02 for _ in range(3))


@pytest.mark.parametrize("value", ["-ab" * 22, "_Ab" * 22, "ab" * 33, "-a" * 33])
def test_a_cookie_of_a_hundred_characters_holds_nobody_up(value: str) -> None:
    assert any(seconds(lambda text: list(secret_cookies(text)), f"auth=a{value}1") < 0.02 for _ in range(3))


STREAMED = [
    "ghp_a",
    "glpat-a",
    "AKIAA",
    "xoxb-a",
    "pwd=",
    "password=a",
    "api_key: '",
    "sig=a",
    "dapi0",
    "eyJa.",
    "://a:",
]


@pytest.mark.parametrize("unit", STREAMED)
def test_one_great_piece_of_a_stream_takes_time_in_proportion(unit: str) -> None:
    def fed(text: str) -> None:
        redactor = Redactor()
        redactor.feed(text)
        redactor.flush()

    small, great = (unit * 5_000 + "!", unit * 40_000 + "!")
    # Eight times the text; quadratic would be 64 times the time.
    assert min(seconds(fed, great) for _ in range(2)) < 24 * min(seconds(fed, small) for _ in range(2)) + 0.01
