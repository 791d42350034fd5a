"""For people who test: a model server on the loopback interface that speaks the vendors' wire formats.

```python
with Emulator() as emulator:
    monkeypatch.setenv("OPENAI_BASE_URL", emulator.base_url("openai"))
    ...
    assert emulator.stats().requests == 3
```
"""

from __future__ import annotations

from polar_llama.testing.answers import (
    Answer,
    EmulatedAnswer,
    EmulatedRequest,
    answer_text,
    answer_vector,
    default_answer,
)
from polar_llama.testing.emulator import Emulator
from polar_llama.testing.example import example
from polar_llama.testing.faults import EmulatedFault, FaultKind, Faults
from polar_llama.testing.limits import Limits
from polar_llama.testing.stats import Stats

__all__ = [
    "Answer",
    "EmulatedAnswer",
    "EmulatedFault",
    "EmulatedRequest",
    "Emulator",
    "FaultKind",
    "Faults",
    "Limits",
    "Stats",
    "answer_text",
    "answer_vector",
    "default_answer",
    "example",
]
