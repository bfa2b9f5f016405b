"""Where Pulumi starts: reads the stack's configuration, declares the stack, exports its outputs."""

import sys
from pathlib import Path

# Pulumi puts this folder first on the path, where redis.py would stand for the package of that name.
HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parent), *(entry for entry in sys.path if Path(entry or ".").resolve() != HERE)]

import pulumi  # noqa: E402
from pulumi.runtime import config  # noqa: E402

from infra.program import declare  # noqa: E402
from infra.settings import SettingsError, StackConfig, load  # noqa: E402


def main() -> None:
    """Declares the stack that Pulumi runs; wrong settings end it with one message."""
    values = config.CONFIG.get() or config.get_config_env()
    secret_keys = frozenset(key for key in values if config.is_config_secret(key))
    try:
        outputs = declare(load(StackConfig(stack=pulumi.get_stack(), values=values, secret_keys=secret_keys)))
    except SettingsError as error:
        raise pulumi.RunError(str(error)) from None
    for name, value in outputs.items():
        pulumi.export(name, value)


main()
