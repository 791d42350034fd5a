"""The names of polar-llama 0.2, used as its documents use them, against the emulator."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any, Literal

import polars as pl
import pytest
from pydantic import BaseModel

import polar_llama as pll
from polar_llama import seed
from polar_llama.seed import (
    LlamaNamespace,
    Provider,
    combine_messages,
    cosine_similarity,
    embedding_async,
    inference,
    inference_async,
    inference_messages,
    knn_hnsw,
    string_to_message,
    tag_taxonomy,
    template,
)
from polar_llama.testing import EmulatedFault, Emulator, answer_text, answer_vector


@pytest.fixture
def asked(monkeypatch):
    """What the emulator understood of each request, in order."""
    seen = []

    def answer(request):
        seen.append(request)
        return _default(request)

    with Emulator(answer=answer) as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(emulator, "seen", seen, raising=False)
        yield emulator


def _default(request) -> str:
    return answer_text(
        request.prompt, model=request.model, system=request.system, schema=request.schema, before=request.messages[:-1]
    )


def llama(column: str) -> LlamaNamespace:
    """`pl.col(column).llama`, which type checkers cannot know of."""
    namespace: LlamaNamespace = pl.col(column).llama  # type: ignore[attr-defined]
    return namespace


QUESTIONS = ["Which river flows through Bonn?", "What is a data frame?"]


def test_the_names_are_those_of_the_seed():
    assert set(seed.__all__) - {"LlamaNamespace"} == {
        "Provider", "inference_async", "inference", "inference_messages", "string_to_message", "combine_messages",
        "template", "embedding_async", "cosine_similarity", "dot_product", "euclidean_distance", "knn_hnsw",
        "tag_taxonomy",
    }  # fmt: skip


def test_the_fluent_form_and_the_functions_ask_the_same(asked):
    df = pl.DataFrame({"Questions": QUESTIONS})
    fluent = df.with_columns(answer=llama("Questions").inference_async(provider=Provider.OPENAI, model="gpt-4o-mini"))
    plain = df.with_columns(answer=inference_async(pl.col("Questions"), provider="openai", model="gpt-4o-mini"))
    assert fluent.equals(plain)
    assert fluent["answer"].to_list() == [answer_text(q, model="gpt-4o-mini") for q in QUESTIONS]
    assert df.select(inference("Questions", model="gpt-4o-mini"))["Questions"].equals(
        fluent["answer"], check_names=False
    )
    assert asked.stats().requests == 2


def test_a_message_is_json_and_takes_the_columns_name(asked):
    df = pl.DataFrame({"ask": ['A "quoted"\nline é', None], "n": [1, 2]})
    made = df.with_columns(
        string_to_message(pl.col("ask"), message_type="user"),
        s=string_to_message(pl.lit("Be brief."), message_type="system"),
    )
    assert made["ask"][0].startswith('{"role": "user", "content": "')
    assert json.loads(made["ask"][0]) == {"role": "user", "content": 'A "quoted"\nline é'}
    assert made["ask"][1] is None
    assert json.loads(made["s"][1]) == {"role": "system", "content": "Be brief."}
    with pytest.raises(pll.ConfigurationError, match="'system', 'user', 'assistant'"):
        string_to_message("ask", message_type="boss")


def test_conversations_are_combined_and_continued(asked):
    df = pl.DataFrame({"rules": ["Answer in one word."], "first": ["Is tea hot?"], "second": ["Always?"]})
    df = df.with_columns(llama("rules").to_message(role="system"), llama("first").to_message(role="user"))
    df = df.with_columns(talk=combine_messages(pl.col("rules"), pl.col("first")))
    df = df.with_columns(answer=inference_messages(pl.col("talk"), provider="openai", model="gpt-4"))
    assert df["answer"][0] == answer_text("Is tea hot?", model="gpt-4", system="Answer in one word.")
    df = df.with_columns(
        talk=combine_messages(
            "talk",
            string_to_message("answer", message_type="assistant"),
            string_to_message("second", message_type="user"),
        )
    )
    df.select(inference_messages("talk", provider=Provider.ANTHROPIC, model="claude-opus-4-8"))
    last = asked.seen[-1]
    assert (last.provider, last.system) == ("anthropic", "Answer in one word.")
    assert last.messages == (("user", "Is tea hot?"), ("assistant", df["answer"][0]), ("user", "Always?"))


def test_what_combining_leaves_out(asked):
    df = pl.DataFrame(
        {"a": ['{"role":"user","content":"x"}', None, "  "], "b": [' [ {"role":"user","content":"[y]"} ] ', "[]", None]}
    )
    made = df.select(combine_messages("a", "b"))["a"].to_list()
    assert [m and [turn["content"] for turn in json.loads(m)] for m in made] == [["x", "[y]"], None, None]
    with pytest.raises(pll.ConfigurationError, match="at least one"):
        combine_messages()


def test_one_message_and_a_list_of_structs_are_conversations(asked):
    df = pl.DataFrame({"m": ["Hi"], "l": [[{"role": "user", "content": "Hi"}]]})
    found = df.select(
        a=inference_messages(llama("m").to_message(), model="m1"),
        b=llama("l").inference_messages(model="m1"),
    )
    assert found.row(0) == (answer_text("Hi", model="m1"),) * 2


class Film(BaseModel):
    title: str
    year: int
    kind: Literal["drama", "comedy"]


@pytest.mark.parametrize("option", ["response_model", "response_format"])
def test_a_response_model_gives_its_fields_and_the_errors_beside_them(asked, option):
    df = pl.DataFrame({"q": ["A film?", None, "Refuse!"]})
    asked.fail(lambda request: EmulatedFault("bad_request") if request.prompt == "Refuse!" else None)
    options: dict[str, Any] = {option: Film}
    lf = df.lazy().with_columns(film=inference_async(pl.col("q"), model="gpt-4o-mini", **options))
    film_type = lf.collect_schema()["film"]
    assert isinstance(film_type, pl.Struct)
    assert [field.name for field in film_type.fields] == ["title", "year", "kind", "_error", "_details", "_raw"]
    film = lf.collect()["film"]
    assert film[1] is None
    assert (
        film.struct.field("title")[0]
        == json.loads(answer_text("A film?", model="gpt-4o-mini", schema=Film.model_json_schema()))["title"]
    )
    assert film.struct.field("_error").to_list() == [None, None, "400 bad_request"]
    assert "answered 400" in film.struct.field("_details")[2]
    assert film.struct.field("title")[2] is None


def test_two_response_models_are_one_too_many():
    with pytest.raises(pll.ConfigurationError, match="two names for one option"):
        inference_async("q", response_model=Film, response_format=BaseModel)


TAXONOMY = {
    "tone": {"description": "How it sounds", "values": {"kind": "Friendly words", "harsh": "Unfriendly words"}},
    "desk": {"description": "Who sees to it", "values": {"cards": "About cards", "other": "Anything else"}},
}


def test_tags_come_with_their_reasons_in_one_request(asked):
    df = pl.DataFrame({"id": [1, 2], "mail": ["My card is gone!", None]})
    lf = df.lazy().with_columns(
        tags=tag_taxonomy(pl.col("mail"), TAXONOMY, provider=Provider.GROQ, model="openai/gpt-oss-20b")
    )
    tag = pl.Struct(
        {
            "thinking": pl.List(pl.Struct({"value": pl.String, "reasoning": pl.String})),
            "reflection": pl.String,
            "value": pl.String,
            "confidence": pl.Float64,
        }
    )
    assert lf.collect_schema()["tags"] == pl.Struct(
        {"tone": tag, "desk": tag, "_error": pl.String, "_details": pl.String, "_raw": pl.String}
    )
    found = lf.collect()
    assert asked.stats().requests == 1
    tone = found["tags"].struct.field("tone")
    assert tone.struct.field("value")[0] in {"kind", "harsh"}
    assert 0 <= tone.struct.field("confidence")[0] <= 1
    assert found["tags"][1] is None
    assert "harsh: Unfriendly words" in asked.seen[0].system
    again = df.with_columns(
        llama("mail").tag_taxonomy(dict(TAXONOMY), provider="groq", model="openai/gpt-oss-20b").alias("t")
    )
    assert again["t"].equals(found["tags"], check_names=False)
    assert asked.stats().requests == 1
    confident = found.filter(pl.col("tags").struct.field("tone").struct.field("confidence") >= 0.0)
    assert confident.select("id", pl.col("tags").struct.field("tone").struct.field("thinking").alias("t")).explode(
        "t"
    ).unnest("t").columns == ["id", "value", "reasoning"]


@pytest.mark.parametrize(
    "taxonomy", [{}, {"tone": {"description": "x"}}, {"tone": {"values": {}}}, ["tone"], {"tone": None}]
)
def test_a_taxonomy_of_another_form_is_refused(taxonomy):
    with pytest.raises(pll.ConfigurationError, match="a taxonomy must be"):
        tag_taxonomy("q", taxonomy)


def test_searching_by_meaning_as_the_documents_do(asked):
    pytest.importorskip("usearch")
    docs = pl.DataFrame({"doc": ["stars", "soup", "planets"]}).with_columns(
        embedding=embedding_async(pl.col("doc"), provider=Provider.OPENAI)
    )
    assert docs.schema["embedding"] == pl.List(pl.Float64)
    assert docs["embedding"].list.len().to_list() == [1536] * 3
    scored = docs.with_columns(similarity=cosine_similarity(pl.lit([docs["embedding"][0]]), pl.col("embedding")))
    assert scored["similarity"][0] == pytest.approx(1.0)
    query = (
        pl.DataFrame({"query": ["soup"]})
        .with_columns(
            query_emb=embedding_async(pl.col("query"), provider=Provider.OPENAI),
            corpus_emb=pl.lit([docs["embedding"].to_list()]),
        )
        .with_columns(near=knn_hnsw(pl.col("query_emb"), pl.col("corpus_emb").list.first(), k=2))
    )
    assert docs[query["near"][0]]["doc"][0] == "soup"
    assert len(query["near"][0]) == 2
    pairs = docs.join(docs, how="cross", suffix="_other").with_columns(
        s=llama("embedding").cosine_similarity(pl.col("embedding_other")),
        d=llama("embedding").dot_product("embedding_other"),
        e=llama("embedding").euclidean_distance("embedding_other"),
        n=llama("embedding").knn_hnsw("embedding_other", k=1),
    )
    same = pairs.filter(pl.col("doc") == pl.col("doc_other"))
    assert same["s"].to_list() == pytest.approx([1.0] * 3)
    assert same["e"].to_list() == pytest.approx([0.0] * 3)
    assert same["d"].to_list() == pytest.approx([1.0] * 3, abs=1e-5)
    assert pairs["n"].list.len().to_list() == [1] * 9
    vector = answer_vector("soup", model="text-embedding-3-small", dimensions=1536)
    assert docs["embedding"][1].to_list() == pytest.approx(vector)


@pytest.mark.parametrize(
    ("provider", "model", "expected"),
    [
        (None, None, "openai:gpt-4o-mini"),
        (None, "gpt-4", "openai:gpt-4"),
        (None, "groq:openai/gpt-oss-20b", "groq:openai/gpt-oss-20b"),
        (None, "amazon.nova-lite-v1:0", "openai:amazon.nova-lite-v1:0"),
        ("bedrock", "amazon.nova-lite-v1:0", "bedrock:amazon.nova-lite-v1:0"),
        (Provider.GEMINI, None, "gemini:gemini-2.5-flash"),
        ("Anthropic", "claude-3", "anthropic:claude-3"),
    ],
)
def test_a_provider_and_a_model_apart(provider, model, expected):
    from polar_llama.seed.provider import model_of

    assert model_of(provider, model) == expected
    pll.configure(model="local")
    assert model_of(provider, model) == (None if provider is model is None else expected)


def test_models_that_are_not_known():
    with pytest.raises(pll.ConfigurationError, match="'mine' has no model"):
        inference_async("q", provider="mine")
    with pytest.raises(pll.ConfigurationError, match="no embedding model is known for 'anthropic'"):
        embedding_async("q", provider=Provider.ANTHROPIC)
    with pytest.raises(ValueError, match="cohere"):
        Provider("cohere")
    assert (Provider("GROQ"), Provider.BEDROCK.as_str(), str(Provider.OPENAI)) == (Provider.GROQ, "bedrock", "openai")


def test_a_template_is_filled():
    df = pl.DataFrame({"name": ["Ann", None], "n": [3, 4]})
    made = df.select(
        a=template("Hello {}", pl.col("name")),
        b=template("{1}{0} {{x}} {who}", "n", pl.col("n") + 1, who="name"),
        c=template("plain"),
    )
    assert made.rows() == [("Hello Ann", "43 {x} Ann", "plain"), (None, None, "plain")]
    for wrong in (lambda: template("{}"), lambda: template("{x}"), lambda: template("{1}", "n")):
        with pytest.raises(pll.PlanError, match="nothing was given"):
            wrong()
    with pytest.raises(pll.PlanError, match="malformed"):
        template("{")
    with pytest.raises(pll.PlanError, match="format specs"):
        template("{:>3}", "n")


def test_old_and_new_share_planner_and_cache(asked):
    lf = pl.LazyFrame({"q": QUESTIONS, "keep": [True, False]})
    lf.with_columns(a=inference_async("q", model="gpt-4o-mini")).filter("keep").collect()
    assert asked.stats().requests == 1
    tagged = lf.with_columns(t=tag_taxonomy("q", TAXONOMY)).filter("keep").head(1)
    tagged.collect()
    assert asked.stats().requests == 2
    lf.with_columns(a=pll.llm("q", model="openai:gpt-4o-mini")).collect()
    assert asked.stats().requests == 3


def test_a_failed_row_is_never_a_silent_null(asked):
    asked.fail(lambda _: EmulatedFault("bad_request"))
    with pytest.raises(pll.AnswerError):
        pl.DataFrame({"q": ["x"]}).select(inference_async("q"))


def test_importing_the_names_imports_no_provider():
    script = "import sys, polar_llama.seed; print({'numpy', 'usearch', 'httpx', 'pydantic'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
