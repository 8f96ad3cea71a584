"""Method → what a request of it means as a call. Whatever is not here, calls no upstream."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gateway import calls, tasks
from gateway.calls import Call
from gateway.router import Reach

READERS: Final[Mapping[str, Callable[[Mapping[str, Any], Reach], Call]]] = {**calls.READERS, **tasks.READERS}
