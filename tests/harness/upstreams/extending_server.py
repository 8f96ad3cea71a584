"""An upstream with extensions over stdio, written with the official SDK.

`python -m tests.harness.upstreams.extending_server NAME`. MCP Apps: the tool `clock` with the app
`ui://clock/app.html`, which says NAME. Tasks: the tool `slow` begins a task, which asks for a word and ends once
it has one, or is cancelled.
"""

import itertools
import sys
from typing import Any, Final

from mcp.server.apps import Apps
from mcp.server.extension import Extension
from mcp.server.mcpserver import MCPServer
from mcp.shared.exceptions import MCPError

INVALID_PARAMS: Final = -32602
TASKS: Final = "io.modelcontextprotocol/tasks"


class Tasks(Extension):
    """Says only that the extension is there; the middleware serves it."""

    identifier = TASKS


class Running:
    """The tasks of this server."""

    def __init__(self) -> None:
        self.ids = itertools.count(1)
        self.tasks: dict[str, dict[str, Any]] = {}

    async def __call__(self, ctx: Any, call_next: Any) -> Any:
        params = ctx.params or {}
        if ctx.method == "tools/call" and params["name"] == "slow":
            return self.begin()
        if ctx.method.startswith("tasks/"):
            task = self.tasks.get(params["taskId"])
            if task is None:
                raise MCPError(INVALID_PARAMS, "no such task")
            return getattr(self, ctx.method.removeprefix("tasks/"))(task, params)
        return await call_next(ctx)

    def begin(self) -> dict[str, Any]:
        when = "2026-11-21T00:00:00Z"
        id_ = f"t-{next(self.ids)}"
        task = {"taskId": id_, "status": "input_required", "createdAt": when, "lastUpdatedAt": when, "ttlMs": 60_000}
        self.tasks[id_] = task
        return {"resultType": "task", **task}

    def get(self, task: dict[str, Any], params: Any) -> dict[str, Any]:
        asked = {
            "method": "elicitation/create",
            "params": {"message": "A word?", "requestedSchema": {"type": "object"}},
        }
        waiting = {"inputRequests": {"word": asked}} if task["status"] == "input_required" else {}
        return {"resultType": "complete", **task, **waiting}

    def update(self, task: dict[str, Any], params: Any) -> dict[str, Any]:
        word = params["inputResponses"]["word"]["content"]["word"]
        task |= {"status": "completed", "result": {"content": [{"type": "text", "text": word}]}}
        return {"resultType": "complete"}

    def cancel(self, task: dict[str, Any], params: Any) -> dict[str, Any]:
        task["status"] = "cancelled"
        return {"resultType": "complete"}


def main(name: str) -> None:
    apps = Apps()

    @apps.tool(resource_uri="ui://clock/app.html", description="The time.")
    def clock() -> str:
        return name

    apps.add_html_resource("ui://clock/app.html", f"<p>{name}</p>")
    server = MCPServer("extending", extensions=[apps, Tasks()], middleware=[Running()])
    server.add_tool(lambda: "", name="slow", description="Takes long.")
    server.run("stdio")


if __name__ == "__main__":
    main(*sys.argv[1:])
