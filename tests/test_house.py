"""The rules of the house that no linter knows; the direction of imports is import-linter's."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import polar_llama

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "polar_llama").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

MOST_LINES = 300
PUBLIC = """
    AnswerError BudgetError ConfigurationError LLM PlanError PolarLlamaError ProviderError
    configure estimate explain last_run llm session sql embed ask register_provider
    Provider inference inference_async inference_messages string_to_message combine_messages template
    embedding_async cosine_similarity dot_product euclidean_distance knn_hnsw tag_taxonomy
"""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_the_documented_names_are_exported_and_exist() -> None:
    assert set(PUBLIC.split()) <= set(polar_llama.__all__)
    for each in polar_llama.__all__:
        assert getattr(polar_llama, each) is not None


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_file_holds_one_idea(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES, f"{lines} lines"
    assert path.stem not in {"utils", "util", "helpers", "common", "misc"}


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_file_says_what_it_is_and_postpones_annotations(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree) or not tree.body, "a module opens with its docstring"
    if len(tree.body) > 1:
        future = tree.body[1]
        assert isinstance(future, ast.ImportFrom)
        assert future.module == "__future__"


def test_importing_the_package_is_light() -> None:
    heavy = "duckdb sqlglot pyreqwest httpx diskcache xllamacpp aioboto3 aiobotocore genai_prices tqdm uvloop"
    script = f"import sys, polar_llama; print(*[m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in TESTS]
    assert sorted(set(names)) == sorted(names)


def test_the_dev_extra_is_the_dev_group() -> None:
    assert PROJECT["project"]["optional-dependencies"]["dev"] == PROJECT["dependency-groups"]["dev"]


def test_constraints_pin_every_requirement_by_version_alone() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", pin) for pin in pins)
    pinned = {pin.partition("==")[0] for pin in pins}
    wanted = [
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    ]
    assert {re.split(r"[^a-z0-9-]", one.lower())[0] for one in wanted} <= pinned


def test_the_package_is_typed() -> None:
    assert (ROOT / "polar_llama" / "py.typed").is_file()
