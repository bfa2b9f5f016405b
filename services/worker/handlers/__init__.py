"""One module a task type; every module here is found and imported at start."""
