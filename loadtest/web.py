"""Locust with its web page, on this project's users and shapes: `python -m loadtest.web --shape spike`."""

import argparse
import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
SHAPES = ("ramp", "step", "spike", "soak")


def command(arguments: list[str]) -> list[str]:
    """The Locust command line; options that are not ours are passed on to Locust."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.web", description=__doc__, allow_abbrev=False)
    parser.add_argument("--shape", choices=SHAPES, help="a course of load; default: you set the users")
    parser.add_argument("--api-url", default="http://127.0.0.1:30500", help="default: %(default)s")
    parser.add_argument("--port", type=int, default=8089, help="of the web page, on loopback (default: 8089)")
    parser.add_argument(
        "--headless", action="store_true", help="no web page: run the shape and print figures"
    )
    given, rest = parser.parse_known_args(arguments)
    files = [HERE / "locustfile.py", *([HERE / "shapes" / f"{given.shape}.py"] if given.shape else [])]
    base = [sys.executable, "-m", "locust", "-f", ",".join(map(str, files)), "--host", given.api_url]
    if given.headless:
        return [*base, "--headless", "--stop-timeout", "15", *rest]
    page = ["--web-host", "127.0.0.1", "--web-port", str(given.port)]
    print(f"Locust's page: http://127.0.0.1:{given.port}  (end with Ctrl-C)", flush=True)
    return [*base, *page, "--stop-timeout", "15", *rest]


def main() -> None:
    """Become Locust."""
    words = command(sys.argv[1:])
    os.chdir(HERE.parent)  # where the modules of this project are found
    os.execv(words[0], words)  # noqa: S606 - our own command line


if __name__ == "__main__":
    main()
