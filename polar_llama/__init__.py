"""LLM calls first-class in Polars."""
