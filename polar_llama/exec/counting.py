"""What a request's way does to the tally of its call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.exec.tokens import CALIBRATION, teaches
from polar_llama.providers.base import Failure, Response

if TYPE_CHECKING:
    from polar_llama.exec.together import Try
    from polar_llama.providers.base import Usage, Vectors


def sent(attempt: Try) -> None:
    """Count a request that is handed to its provider."""
    tally = attempt.batch.question.tally
    tally.sent += 1
    if attempt.failures or attempt.repair is not None:
        tally.retried += 1


def further(attempt: Try) -> None:
    """Count one more request for the same prompt: the one before came to its end."""
    tally = attempt.batch.question.tally
    tally.sent += 1
    tally.replied += 1


def came(attempt: Try, reply: Response | Vectors | Failure) -> Usage | None:
    """Count a request that came to its end, and learn from it; its tokens, if they were counted."""
    question = attempt.batch.question
    tally = question.tally
    if isinstance(reply, Response):
        tally.unenforced += not reply.native
        usage = reply.usage
    else:
        if not reply.sent:
            _unsent(attempt)
            return None
        usage = reply.billed if isinstance(reply, Failure) else reply.usage
    tally.replied += 1
    if usage is None:
        return None
    tally.count(usage)
    if isinstance(reply, Response) and attempt.repair is None and teaches(tally.replied):
        CALIBRATION.saw(question.provider.identity, question.ask, attempt.pairs[0][1], usage)
    return usage


def _unsent(attempt: Try) -> None:
    """Take back what `sent` has counted."""
    question = attempt.batch.question
    question.tally.sent -= 1
    if attempt.failures or attempt.repair is not None:
        question.tally.retried -= 1
    question.refund()
