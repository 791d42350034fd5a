"""The planner: sees no data, no time and no network."""
