"""A plan as a picture, in the language of Mermaid, which many viewers of Markdown draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polar_llama.planner.explain import staged
from polar_llama.planner.nodes import inputs
from polar_llama.planner.wording import line, shown_step

if TYPE_CHECKING:
    from polar_llama.planner.nodes import Plan

_PLAIN = frozenset(" .,:()[]{}+-=?!/'_…")
_STYLE = "  classDef ask fill:#fde68a,stroke:#b45309,color:#000"


def mermaid(plan: Plan) -> str:
    """A plan as a flowchart: rows flow upwards, calls stand out and bear the number of their stage."""
    numbers = {id(answer): stage.number for stage in staged(plan) for answer in stage.answers}
    names: dict[int, str] = {}
    boxes, arrows = [], []
    todo = [shown_step(plan)]
    while todo:
        node = todo.pop()
        if id(node) in names:
            continue
        names[id(node)] = name = f"n{len(names)}"
        stage = numbers.get(id(node))
        words = line(node) if stage is None else f"stage {stage}: {line(node)}"
        boxes.append(f'  {name}["{_escaped(words)}"]' + ("" if stage is None else ":::ask"))
        below = [shown_step(i) for i in inputs(node)]
        arrows += [(id(i), name) for i in below]
        todo += reversed(below)
    return "\n".join(["flowchart BT", *boxes, *(f"  {names[i]} --> {name}" for i, name in arrows), _STYLE])


def _escaped(words: str) -> str:
    """Text in which nothing is markup: neither quotes nor what Markdown or HTML would make of it."""
    return "".join(c if c.isalnum() or c in _PLAIN else f"#{ord(c)};" for c in words)
