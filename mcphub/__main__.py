"""The console script `mcphub` and `python -m mcphub`: Django's command runner with the hub's settings."""

import os
import sys


def main() -> None:
    """Run the management command named in `sys.argv[1]`."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcphub.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
