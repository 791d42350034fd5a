"""The engine: batches of prompts in, batches of answers out."""
