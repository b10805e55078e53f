"""The reader of fenced blocks: what it finds, what it refuses, and what it takes for the same output."""

from pathlib import Path

import pytest
from tests.documentation.blocks import Block, commands, difference, read_blocks

PAGE = """# A page

```python title="graphs/agent.py"
graph = "…"
```

1. In a list:

    ```bash
    # Not a command.
    graph-agent init shop && cd shop   # a comment
    curl http://127.0.0.1:8000/responses \\
      -d '{"input":
           "Hello"}'
    ```

```console
$ graph-agent ask \\
    "Hello"
Hello.
$ pwd
```

`` ``` `` in a line is no block.

````text
```
inner
```
````
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    path = tmp_path / "page.md"
    path.write_text(PAGE, encoding="utf-8")
    return path


def test_blocks_are_found_with_their_language_title_and_line(page: Path) -> None:
    found = [(one.line, one.language, one.title) for one in read_blocks(page)]
    assert found == [(3, "python", "graphs/agent.py"), (9, "bash", ""), (17, "console", ""), (26, "text", "")]
    assert read_blocks(page)[0].text == 'graph = "…"\n'
    assert read_blocks(page)[3].text == "```\ninner\n```\n"
    assert read_blocks(page)[0].place == f"{page}:3"


def test_commands_go_on_over_lines_and_comments_are_none(page: Path) -> None:
    [init, curl] = commands(read_blocks(page)[1])
    assert init.text == "graph-agent init shop && cd shop   # a comment"
    assert curl.text.endswith('"Hello"}\'')
    assert (init.line, curl.line) == (11, 12)
    assert init.output is None


def test_a_console_block_has_the_output_of_each_command(page: Path) -> None:
    [ask, pwd] = commands(read_blocks(page)[2])
    assert ask.text == 'graph-agent ask \\\n    "Hello"'
    assert (ask.output, pwd.output) == (("Hello.",), ())
    assert (ask.line, pwd.line) == (18, 21)


@pytest.mark.parametrize(
    ("fence", "told"),
    [
        ('```python file="a.py"\n1\n```\n', "a fence takes title="),
        ('```python title="a.py\n1\n```\n', "cannot be read"),
    ],
)
def test_unknown_words_after_a_fence_are_refused(tmp_path: Path, fence: str, told: str) -> None:
    (tmp_path / "page.md").write_text(fence)
    with pytest.raises(ValueError, match=told):
        read_blocks(tmp_path / "page.md")


@pytest.mark.parametrize(
    ("language", "text", "told"),
    [
        ("console", "Hello.\n", "begins with a line"),
        ("bash", "# nothing\n", "no command"),
        ("bash", "echo 'open\n", "does not end"),
    ],
)
def test_blocks_without_whole_commands_are_refused(language: str, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        commands(Block(Path("page.md"), 1, language, "", text))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("one\ntwo", "one  \ntwo\n\n"),
        ("one\n…\nfour", "one\ntwo\nthree\nfour"),
        ("one\n…\ntwo", "one\ntwo"),
        ("…", ""),
        ("…\ntwo\n…", "one\ntwo\nthree"),
        ("total … s, … tokens", "total 1.2 s, 30 + 4 tokens"),
        ("…\na\n…\na", "a\nb\na"),
    ],
)
def test_output_fits_what_is_shown(shown: str, printed: str) -> None:
    assert difference(shown.splitlines(), printed.splitlines()) is None


@pytest.mark.parametrize(
    ("shown", "printed", "told"),
    [
        ("one", "two", "shown: one\nprinted: two"),
        ("one", "one\ntwo", "printed, and not shown: two"),
        ("one\ntwo", "one", "not printed: two"),
        ("one\n…\nfour", "one\ntwo", "shown: four\nprinted: two"),
        ("…\ntwo\n…", "one", "not printed: two"),
        ("…\na\n…\na", "b\na", "not printed: a"),
        ("one … one", "one", "shown: one … one\nprinted: one"),
        ("a…a", "a", "shown: a…a\nprinted: a"),
        ("one\n…", "", "not printed: one"),
    ],
)
def test_a_difference_is_named(shown: str, printed: str, told: str) -> None:
    assert difference(shown.splitlines(), printed.splitlines()) == told
