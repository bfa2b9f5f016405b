"""One file a queue: its settings, its handlers, its client. Each runs in an environment of its own."""
