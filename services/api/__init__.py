"""The HTTP API: takes tasks, says how they are."""
