"""What a machine could run is said from its memory and its graphics processor."""

from pathlib import Path

import pytest

from graph_agent.commands.machine_checks import what_fits
from graph_agent.local.machine import GB, Machine, graphics_card, this_machine, usable_memory, usable_processors


@pytest.fixture(autouse=True)
def no_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop, where `dev` loads the built-in model."""
    monkeypatch.delenv("DATABRICKS_HOST", raising=False)


def test_this_machine_has_memory_and_processors() -> None:
    found = this_machine()
    assert found.processors >= 1
    assert str(found).count(",") >= 2


@pytest.mark.parametrize(
    ("limit", "most"),
    [("50000 100000", 1), ("100000 100000", 1), ("max 100000", None), ("nonsense", None), ("1 0", None), (None, None)],
)
def test_a_container_has_the_processors_of_its_share(limit: str | None, most: int | None, tmp_path: Path) -> None:
    limits = tmp_path / "cpu.max"
    if limit is not None:
        limits.write_text(limit)
    assert usable_processors(limits) == (most or usable_processors(tmp_path / "none"))


@pytest.mark.parametrize(
    ("machine", "largest"),
    [
        (Machine(memory=2 * GB, processors=2), 0),
        (Machine(memory=8 * GB, processors=4), 3),
        (Machine(memory=16 * GB, processors=8), 7),
        (Machine(memory=16 * GB, processors=8, graphics="Apple silicon", shares_memory=True), 14),
        (Machine(memory=64 * GB, processors=16, graphics="Apple silicon", shares_memory=True), 32),
        (Machine(memory=64 * GB, processors=16, graphics="RTX", graphics_memory=12 * GB), 14),
    ],
)
def test_the_largest_model_that_fits_leaves_room_for_the_rest(machine: Machine, largest: float) -> None:
    assert machine.largest == largest


def test_a_machine_without_room_for_the_default_model_is_told_of_the_small_one() -> None:
    [check] = what_fits(Machine(memory=2 * GB, processors=2), "qwen-1.5b")
    assert not check.ok
    assert "GRAPH_AGENT_LOCAL_MODEL=qwen-0.5b" in check.fix


def test_on_processors_alone_a_larger_model_is_said_to_be_slower() -> None:
    [check] = what_fits(Machine(memory=16 * GB, processors=8), "qwen-1.5b")
    assert check.ok
    assert "7 billion parameters" in check.what
    assert "5 times slower" in check.what


def test_with_a_workspace_of_its_own_a_small_machine_is_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_HOST", "https://example.com")
    assert list(what_fits(Machine(memory=1 * GB, processors=1), "qwen-1.5b")) == []


@pytest.mark.parametrize(
    ("said", "card"),
    [
        ("8192, Small\n24576, NVIDIA GeForce RTX 4090\n", ("NVIDIA GeForce RTX 4090", 24576 * 1024**2)),
        ("[N/A], Odd\n", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_the_largest_card_of_nvidia_smi_counts(tmp_path: Path, said: str, card: tuple[str, int]) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{said}'\n".replace("\n'", "\\n'"))
    program.chmod(0o755)
    assert graphics_card(str(tmp_path)) == card


def test_a_program_without_a_driver_is_no_card(tmp_path: Path) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho has failed\nexit 9\n")
    program.chmod(0o755)
    assert graphics_card(str(tmp_path)) == ("", 0)
    assert graphics_card(str(tmp_path / "none")) == ("", 0)


def test_the_memory_of_a_container_counts_if_it_is_less(tmp_path: Path) -> None:
    limits = tmp_path / "memory.max"
    whole = usable_memory(tmp_path / "none")
    limits.write_text("536870912\n")
    assert usable_memory(limits) == 512 * 1024**2
    limits.write_text("max\n")
    assert usable_memory(limits) == whole
