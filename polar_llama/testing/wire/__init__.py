"""The wire formats, as a table; the first whose prefix fits a path reads the request."""

from __future__ import annotations

from polar_llama.testing.wire import anthropic, azure, bedrock, gemini, groq, openai

WIRES = (openai.WIRE, anthropic.WIRE, gemini.WIRE, groq.WIRE, bedrock.WIRE, azure.WIRE)

__all__ = ["WIRES"]
