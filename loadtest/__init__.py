"""Load on a running task queue, and the proof that its workers scale with it and lose nothing."""
