"""What the bench tells a peer, by the environment: where Redis is, how many tasks at a time, what to keep."""

import os

REDIS_URL = os.environ.get("BENCH_REDIS_URL", "redis://127.0.0.1:6379/0")
CONCURRENCY = int(os.environ.get("BENCH_CONCURRENCY", "10"))
RESULTS = os.environ.get("BENCH_RESULTS", "1") == "1"
"""Whether results are kept, where the queue leaves the choice."""
SHORT = os.environ.get("BENCH_SHORT", "0") == "1"
"""Whether the time-outs that bring a killed worker's tasks back are set to some seconds, where documented."""
SHORT_S = 10
NAP_LIMIT_S = 600
"""Longer than any nap of the bench: no peer may end a nap for being long."""
