"""How a model takes JSON schemas: known, or found out by the first question and remembered.

A form is a way of asking for an answer that follows a schema. The best one that a model takes is used;
when a server says that it does not take it, the next one is tried, at once and for this request too. So
it is when a server of which nothing is known answers in prose: some pass over what they do not know.
"""

from __future__ import annotations

import asyncio
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Literal

from pydantic_core import from_json

from polar_llama.providers.base import HEALS, Response, Usage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from polar_llama.providers.base import Ask, Failure, Request
    from polar_llama.providers.errors import Problem

Form = Literal["schema", "tool", "object", "prompt"]
"""Enforced by the server; as the input of a tool it must call; as any JSON object and in words; in words only."""

MAX_REMEMBERED = 1024
"""Calls whose schemas are remembered as refused; of more all are forgotten, and found out again."""


@dataclass(slots=True)
class _Known:
    form: Form
    proven: bool
    first: asyncio.Event | None = None


class Forms:
    """What is known of the models of one server.

    Args:
        order: The forms there are, best first.
        about: Words by which the server's errors tell that the form is what is wrong, in lower case.
    """

    def __init__(self, order: Sequence[Form], about: Sequence[str]) -> None:
        self._order = tuple(order)
        self._about = tuple(about)
        self._known: dict[str, _Known] = {}
        self._lesser: dict[Ask, Form] = {}

    async def ask(
        self,
        request: Request,
        once: Callable[[Request, Form], Awaitable[tuple[Response | Failure, Problem | None]]],
        start: Form,
        *,
        proven: bool,
    ) -> Response | Failure:
        """Ask in the best form there is; the first question to a model also finds out which that is.

        Args:
            request: A question with a schema.
            once: Asks once in a form; the problem is there when the server answered with an error.
            start: The best form for this call, as far as its model and schema are known.
            proven: Whether the model is known to take schemas: then only an error that speaks of the form is about it.
        """
        known = self._known.get(request.ask.model)
        if known is None:
            known = self._known[request.ask.model] = _Known(self._order[0], proven)
        finds_out = None
        if not known.proven and known.first is None:
            finds_out = known.first = asyncio.Event()
        elif not known.proven and known.first is not None:
            await known.first.wait()  # so that a refusal is met once, and not by every request under way
        try:
            return await self._descend(request, once, start, known)
        finally:
            if finds_out is not None:
                finds_out.set()

    async def _descend(
        self,
        request: Request,
        once: Callable[[Request, Form], Awaitable[tuple[Response | Failure, Problem | None]]],
        start: Form,
        known: _Known,
    ) -> Response | Failure:
        place = self._order.index
        begin = max(place(start), place(known.form), place(self._lesser.get(request.ask, start)))
        refused: Failure | None = None
        ignored: Response | None = None
        said = False
        for form in self._order[begin:]:
            if (ignored or refused) and (why := await request.another()) is not None:
                return why
            outcome, problem = await once(request, form)
            if isinstance(outcome, Response):
                outcome = _together(ignored, outcome)
                if not known.proven and form != self._order[-1] and _is_ignored(outcome):
                    ignored = outcome
                    continue
                best = refused is None and ignored is None
                if not best or outcome.finish == "stop":  # what was cut off proves nothing
                    self._learn(request.ask, known, start, form, best=best, said=said)
                return outcome
            named = problem is not None and self._names_form(outcome, problem)
            if problem is None or not (named or _may_mean_form(outcome, problem, known)):
                return outcome if outcome.kind in HEALS else ignored or refused or outcome
            said = said or named
            refused = refused or outcome
        last = ignored or refused
        assert last is not None  # noqa: S101 -- the loop runs at least once
        return last

    def _learn(self, ask: Ask, known: _Known, start: Form, form: Form, *, best: bool, said: bool) -> None:
        """Remember the form that was answered.

        Args:
            ask: The call.
            known: What is known of its model.
            start: Where the call's own schema began.
            form: The form that was answered.
            best: Whether it was the first that was tried.
            said: Whether the server named the better ones as what it does not take.
        """
        if best:
            if self._order.index(form) <= self._order.index(known.form):
                known.form, known.proven = form, True
        elif not known.proven and start == self._order[0]:
            known.form, known.proven = form, True
        elif said or not known.proven:  # the model may take schemas, but not this one
            if len(self._lesser) >= MAX_REMEMBERED:
                self._lesser.clear()
            self._lesser[ask] = form

    def _names_form(self, outcome: Failure, problem: Problem) -> bool:
        words = f"{problem.message} {problem.type} {problem.code}".lower()
        return (
            outcome.status in {400, 404, 422, 501}
            and outcome.kind in {"bad_request", "unknown_model"}
            and any(about in words for about in self._about)
        )


def _is_ignored(answer: Response) -> bool:
    """Whether an answer shows that the server passed over the schema: it ended by itself, and is no JSON object."""
    if answer.finish != "stop":
        return False
    try:
        return not isinstance(from_json(answer.text), dict)
    except ValueError:
        return True


def _together(ignored: Response | None, answer: Response) -> Response:
    """An answer, with the tokens of one before it that was of no use."""
    if ignored is None or ignored.usage is None or answer.usage is None:
        return answer
    both = zip(astuple(ignored.usage), astuple(answer.usage), strict=True)
    return replace(answer, usage=Usage(*(before + now for before, now in both)))


def _may_mean_form(outcome: Failure, problem: Problem, known: _Known) -> bool:
    """Whether the form may be what is refused: no schema was answered yet, and no other cause is given."""
    return (
        not known.proven
        and outcome.status in {400, 422}
        and outcome.kind == "bad_request"
        and "context" not in f"{problem.message} {problem.type} {problem.code}".lower()
    )
