"""The console script `mcphub` and `python -m mcphub`: Django's command runner with the hub's settings."""

import os
import signal
import sys
from typing import Final

from mcphub.core import env, flags

USAGE: Final = 2
INTERRUPTED: Final = 128 + signal.SIGINT


def main() -> None:
    """Run the management command named in `sys.argv[1]`, after the settings proved readable."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    try:
        given, argv = flags.read(sys.argv)
        env.use(given)
        env.load()
    except flags.BadFlags as fault:
        sys.exit(_say([str(fault)]))
    except env.SettingsFault as fault:
        sys.exit(_say(fault.faults))
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(argv)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _say(faults: "list[str] | tuple[str, ...]") -> int:
    for fault in faults:
        sys.stderr.write(f"mcphub: {fault}\n")
    return USAGE


if __name__ == "__main__":
    main()
