"""The worker: takes tasks from the queue, runs their handlers, reports how they ended."""
