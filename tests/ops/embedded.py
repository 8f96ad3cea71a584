"""A process with the standalone hub's background threads; says `done` when its task ran and `stopped` at the end.

`task` sends a task itself, `beat` waits for the schedule to send it, `dead-beat` has a beat that dies at once.
"""

import sys
import threading

import django

django.setup()

from mcphub.celery import app  # noqa: E402  # Django comes first: tasks are found in its apps
from mcphub.schedule import SCHEDULE  # noqa: E402
from mcphub.standalone.workers import EmbeddedWorkers  # noqa: E402

done = threading.Event()


@app.task(name="tests.done")
def note_done() -> None:
    done.set()


def broken() -> None:
    raise EOFError


def main(mode: str) -> None:
    if mode == "beat":
        SCHEDULE["often"] = {"task": "tests.done", "schedule": 0.2}
    running = EmbeddedWorkers()
    if mode == "dead-beat":
        running._beat.service.start = broken
    running.start()
    if mode != "beat":
        app.send_task("tests.done")
    if done.wait(20):
        print("done", flush=True)
    running.stop()
    print("stopped", flush=True)


main(sys.argv[1])
