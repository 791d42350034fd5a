"""The front end in frames: calls are captured, looked at and run."""
