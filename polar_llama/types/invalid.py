"""What a text is that does not answer."""

from __future__ import annotations


class InvalidAnswer(ValueError):  # noqa: N818 -- a finding about a text, turned into a Failure; users never catch it
    """A text is not an answer of the type asked for; the message says why, in words a model can act on."""
