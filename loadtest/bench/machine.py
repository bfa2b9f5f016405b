"""What a run was measured on."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from loadtest.bench import environments
from loadtest.bench.cores import Cores


def facts(cores: Cores) -> dict[str, Any]:
    """Cores, processor, kernel, versions, and the load before the run."""
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": environments.python_version(),
        "redis": _first_line("redis-server", "--version"),
        "measured_core": cores.measured,
        "core_of_redis_and_load": cores.others,
        "load_before": os.getloadavg()[0],
    }


def _processor() -> str:
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return names[0] if names else platform.machine()


def _first_line(*words: str) -> str:
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    return done.stdout.strip().split("\n")[0]
