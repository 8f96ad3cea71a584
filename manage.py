#!/usr/bin/env python3
"""Run a command of the hub from a checkout: `manage.py up`, `manage.py doctor`, …"""

from mcphub.__main__ import main

if __name__ == "__main__":
    main()
