"""The rewriting rules: one rule, one file; each looks at one node and gives an equal plan, or the same object."""
