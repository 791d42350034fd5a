"""Embeddings: planned, deduplicated, many in a request, cached; on every wire format that has them."""

from __future__ import annotations

import polars as pl
import pytest

import polar_llama as pll
from polar_llama import llm
from polar_llama.frame.embed import embed
from polar_llama.frame.similarity import cosine_similarity
from polar_llama.providers import registry, weights
from polar_llama.providers.base import Room, Usage, Vectors
from polar_llama.providers.embedding import pack
from polar_llama.testing import EmulatedFault, Emulator, answer_vector

MODEL = "openai:text-embedding-3-small"


@pytest.fixture
def emulator(monkeypatch):
    with Emulator() as emulator:
        for name, value in emulator.environ().items():
            monkeypatch.setenv(name, value)
        pll.configure(model="openai:gpt-6-luna")
        yield emulator


def _frame(rows: int = 5, distinct: int = 3) -> pl.LazyFrame:
    return pl.LazyFrame({"i": range(rows), "t": [f"text {i % distinct}" for i in range(rows)]})


def _vector(text: str, model: str = "text-embedding-3-small", dimensions: int = 1536) -> list[float]:
    return answer_vector(text, model=model, dimensions=dimensions)


def _report():
    report = pll.last_run()
    assert report is not None
    return report


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("openai:text-embedding-3-small", 1536),
        ("openai:text-embedding-3-large", 3072),
        ("azure:text-embedding-3-small", 1536),
        ("gemini:gemini-embedding-2", 3072),
        ("bedrock:amazon.titan-embed-text-v2:0", 1024),
        ("bedrock:cohere.embed-english-v3", 1024),
    ],
)
def test_every_provider_gives_its_vectors(emulator, model, size):
    found = _frame().with_columns(v=embed("t", model=model)).collect()
    name = model.partition(":")[2]
    assert found["v"].dtype == pl.List(pl.Float32)
    expected = [_vector(t, name, size) for t in found["t"]]
    assert found["v"].to_list() == expected
    assert _report().total.distinct == 3


@pytest.mark.parametrize(
    "model",
    ["openai:text-embedding-3-small", "gemini:gemini-embedding-2", "bedrock:amazon.titan-embed-text-v2:0"],
)
def test_dimensions_make_an_array(emulator, model):
    lf = _frame().with_columns(v=embed("t", model=model, dimensions=256))
    assert lf.collect_schema()["v"] == pl.Array(pl.Float32, 256)
    found = lf.collect()["v"]
    assert found.dtype == pl.Array(pl.Float32, 256)
    assert found[1].to_list() == pytest.approx(_vector("text 1", model.partition(":")[2], 256), abs=1e-6)


def test_many_texts_are_one_request_and_no_text_twice(emulator):
    lf = _frame(2_000, 900).with_columns(v=embed("t", model=MODEL, dimensions=8))
    found = lf.collect()
    assert found["v"].to_list() == [_vector(t, dimensions=8) for t in found["t"]]
    sent = emulator.stats().requests
    assert sent <= 10
    assert (_report().total.distinct, _report().total.sent) == (900, sent)
    assert _report().total.input_tokens == sum((len(f"text {i}") + 3) // 4 for i in range(900))
    assert lf.collect()["v"].to_list() == found["v"].to_list()
    assert emulator.stats().requests == sent


def test_requests_stay_within_the_providers_limits(emulator):
    sizes: list[tuple[int, int]] = []
    emulator.fail(lambda request: sizes.append((len(request.inputs), sum(map(len, request.inputs)))))
    _frame(250, 250).select(embed("t", model="gemini:gemini-embedding-2", dimensions=4)).collect()
    assert sum(n for n, _ in sizes) == 250
    assert max(n for n, _ in sizes) <= 100
    sizes.clear()
    long = pl.DataFrame({"t": [f"{i} " + "word " * 15_000 for i in range(9)]})  # 75 kB each
    long.select(embed("t", model=MODEL, dimensions=4))
    assert sum(n for n, _ in sizes) == 9
    assert max(size for _, size in sizes) <= 200_000


def test_the_provider_in_force_gives_the_model(emulator):
    assert _frame().select(embed("t")).collect()["embed"][0].to_list() == _vector("text 0")
    assert _report().calls[0].model == MODEL
    pll.configure(model="anthropic:claude-sonnet-5")
    with pytest.raises(pll.ConfigurationError, match="no embedding model is known for 'anthropic'"):
        _frame().select(embed("t")).collect()
    with pytest.raises(pll.ConfigurationError, match="anthropic has no embeddings"):
        _frame().select(embed("t", model="anthropic:claude-embed")).collect()
    assert emulator.stats().requests == 1


def test_nulls_have_no_vector_and_empty_texts_are_an_error_of_their_row(emulator):
    df = pl.DataFrame({"t": ["a", None, "", "b"]})
    found = df.with_columns(v=embed("t", model=MODEL, dimensions=2, on_error="struct"))
    assert found["v"].struct.field("answer").to_list() == [
        pytest.approx(_vector("a", dimensions=2)), None, None, pytest.approx(_vector("b", dimensions=2))
    ]  # fmt: skip
    assert found["v"].to_list()[1] is None
    assert "empty text has no embedding" in found["v"].struct.field("error")[2]
    with pytest.raises(pll.AnswerError, match="empty text"):
        df.select(embed("t", model=MODEL, dimensions=2))
    assert emulator.stats().requests == 1


def test_one_text_that_is_refused_does_not_spoil_the_others(emulator):
    def refuse(request):
        return EmulatedFault("bad_request") if "text 77" in request.inputs else None

    emulator.fail(refuse)
    found = _frame(100, 100).with_columns(v=embed("t", model=MODEL, dimensions=2, on_error="null")).collect()
    assert found["v"].is_null().arg_true().to_list() == [77]
    assert emulator.stats().requests <= 20
    assert _report().total.failed == 1


def test_a_refusal_of_everything_is_believed_soon(emulator):
    emulator.fail(lambda _: EmulatedFault("bad_request"))
    with pytest.raises(pll.AnswerError):
        _frame(1_000, 1_000).select(embed("t", model=MODEL)).collect()
    assert emulator.stats().requests < 100


@pytest.mark.parametrize("kind", ["rate_limited", "reset", "malformed"])
def test_what_heals_is_asked_again_as_it_was(emulator, kind):
    faults = iter([EmulatedFault(kind, retry_after=0.001), EmulatedFault(kind, retry_after=0.001)])
    emulator.fail(lambda _: next(faults, None))
    found = _frame(100, 100).with_columns(v=embed("t", model=MODEL, dimensions=2)).collect()
    assert found["v"].null_count() == 0
    assert _report().total.retried == 2
    assert _report().total.sent <= 6


def test_a_wrong_key_stops_at_once(emulator):
    emulator.fail(lambda _: EmulatedFault("auth"))
    with pytest.raises(pll.ProviderError, match="OPENAI_API_KEY"):
        _frame(5_000, 5_000).select(embed("t", model=MODEL)).collect()
    assert emulator.stats().requests <= 16


def test_vectors_are_planned_like_any_answer(emulator):
    query = (
        _frame(50, 50)
        .with_columns(v=embed("{t}!", model=MODEL, dimensions=4), unread=embed("t", model=MODEL))
        .filter(pl.col("i") < 3)
        .with_columns(near=cosine_similarity("v", embed(pl.col("t") + "!", model=MODEL, dimensions=4)))
        .select("i", "near")
    )
    assert query.collect()["near"].to_list() == pytest.approx([1.0, 1.0, 1.0])
    assert sorted(emulator.stats().prompts) == ["text 0!", "text 1!", "text 2!"]


def test_an_answer_can_be_embedded(emulator):
    found = _frame(2, 2).with_columns(a=llm("t")).with_columns(v=embed("a", model=MODEL, dimensions=2)).collect()
    assert found["v"].to_list() == [pytest.approx(_vector(a, dimensions=2)) for a in found["a"]]


def test_cached_vectors_need_no_server_and_survive_replay(emulator):
    lf = _frame().with_columns(v=embed("t", model=MODEL, dimensions=3))
    first = lf.collect()
    emulator.fail(lambda _: EmulatedFault("auth"))
    with pll.session(cache="replay"):
        assert lf.collect().equals(first)


@pytest.mark.parametrize("dimensions", [0, -1, True, 2.0, "3"])
def test_wrong_dimensions_are_refused(dimensions):
    with pytest.raises(pll.ConfigurationError, match="dimensions"):
        embed("t", dimensions=dimensions)


def test_messages_have_no_embedding():
    lf = pl.LazyFrame({"m": [[{"role": "user", "content": "x"}]]})
    with pytest.raises(pll.PlanError, match="no embedding"):
        lf.select(embed("m", model=MODEL)).collect_schema()


def test_a_vector_of_another_length_is_an_error(emulator, monkeypatch):
    monkeypatch.setattr("polar_llama.testing.wire.openai.answer_vector", lambda *_, **__: [0.5])
    with pytest.raises(pll.AnswerError, match="has 1 numbers, not the 3 asked for"):
        _frame().select(embed("t", model=MODEL, dimensions=3)).collect()


def test_floats_are_packed_where_a_server_ignores_base64(emulator, monkeypatch):
    monkeypatch.setattr("polar_llama.testing.wire.openai.b64encode", _Plain)
    found = _frame().with_columns(v=embed("t", model=MODEL, dimensions=3)).collect()
    assert found["v"][0].to_list() == pytest.approx(_vector("text 0", dimensions=3))


class _Plain:
    def __init__(self, raw):
        self.raw = raw

    def decode(self):
        return memoryview(self.raw).cast("f").tolist()


def test_a_budget_holds(emulator):
    with pll.session(max_requests=2), pytest.raises(pll.BudgetError):
        _frame(300, 300).select(embed("t", model="gemini:gemini-embedding-2")).collect()
    assert emulator.stats().requests == 2
    with pll.session(max_cost=1e-9), pytest.raises(pll.BudgetError):
        _frame().select(embed("t", model=MODEL)).collect()


@pytest.mark.local_model
def test_the_local_model_embeds_and_answers_in_one_query():
    pll.configure(model="local")
    df = pl.DataFrame({"t": ["a cat", "a cat", "the stock market fell", None]})
    query = df.lazy().with_columns(v=embed("t"), a=llm("t", max_tokens=2))
    found = query.with_columns(s=cosine_similarity("v", pl.col("v").first())).collect()
    assert found["v"].list.len().to_list() == [576, 576, 576, None]
    assert found["s"][1] == pytest.approx(1.0)
    assert found["s"][2] < 0.99
    assert found["a"].null_count() == 1


@pytest.mark.local_model
def test_a_text_that_is_too_long_for_the_local_model_fails_alone():
    df = pl.DataFrame({"t": ["short", "long " * 4_000]})
    found = df.with_columns(v=embed("t", model="local", on_error="struct"))["v"]
    assert found[0]["error"] is None
    assert "more than the 2,048 tokens" in found[1]["error"]


class _Letters:
    """A provider of one's own: the vector of a text counts its letters."""

    identity = host = "letters"

    async def complete(self, request):
        raise NotImplementedError

    def room(self, ask):
        return Room(texts=3, size=100)

    async def embed(self, ask, texts, timeout):
        return Vectors(tuple(pack([text.count("a"), text.count("b")]) for text in texts), Usage(input=len(texts)))

    async def aclose(self):
        pass


def test_a_provider_of_ones_own_can_embed(monkeypatch):
    monkeypatch.setattr(registry, "_registered", {})
    pll.register_provider("letters", lambda _: _Letters())
    df = pl.DataFrame({"t": ["ab", "bb", "", "aab", "b" * 200]})
    found = df.with_columns(v=embed("t", model="letters:latin"))
    assert found["v"].to_list() == [[1, 1], [0, 2], [0, 0], [2, 1], [0, 200]]
    assert _report().total.sent == 3
    with (
        pytest.raises(pll.ConfigurationError, match="no embedding model is known for 'letters'"),
        pll.session(model="letters:latin"),
    ):
        df.select(embed("t"))


@pytest.mark.local_model
def test_a_llama_cpp_server_embeds_over_http(monkeypatch):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(weights.locate(""))
    params.embedding, params.ui, params.warmup = True, False, False
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_ctx, params.verbosity, params.api_keys = 1024, -1, ["a-key-of-the-test"]
    params.cpuparams.n_threads = 1
    server = xllamacpp.Server(params)
    monkeypatch.setenv("OPENAI_BASE_URL", f"{server.listening_address}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "a-key-of-the-test")
    df = pl.DataFrame({"t": ["a cat", "a dog", "", None, "long " * 3_000]})
    found = df.with_columns(v=embed("t", model="openai:smollm2", on_error="struct"))["v"]
    vectors = found.struct.field("answer")
    assert vectors.list.len().to_list() == [576, 576, None, None, None]
    assert found.struct.field("error").is_null().to_list() == [True, True, False, True, False]
    monkeypatch.setenv("OPENAI_API_KEY", "another-key")
    with pytest.raises(pll.ProviderError, match="OPENAI_API_KEY"):
        df.head(1).select(embed("t", model="openai:smollm2", cache=False))
