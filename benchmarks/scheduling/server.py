"""A chat server of the OpenAI kind that takes as long for a step as the plan says, as a process of its own.

    python -m benchmarks.scheduling.server

prints the port that it listens on. What it knows of a step stands in the prompt (`Step.instruction`, and the
answers to the steps that it needs), so a run is the same each time. Where tools are offered, it plays a
supervisor that hands one step after the other to its only agent, and takes no time for that.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.json_requests import JsonRequests
from benchmarks.scheduling.plans import answered, marked


class Connection(JsonRequests):
    """One connection, on which one request follows the other."""

    def asked(self, body: dict[str, Any]) -> None:
        seconds, message = reply(body)
        asyncio.get_running_loop().call_later(seconds, self._send, message)

    def _send(self, message: dict[str, Any] | None) -> None:
        assert self._transport is not None
        status = "200 OK" if message else "400 Bad Request"
        data = json.dumps(_completion(message) if message else _REFUSED).encode()
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        self._transport.write(head.encode() + data)


_REFUSED = {"error": {"message": "no step in the prompt, or an answer that it needs is missing"}}


def reply(request: dict[str, Any]) -> tuple[float, dict[str, Any] | None]:
    """The seconds until the answer, and the message of it; None where the prompt lacks something."""
    texts = [str(message.get("content") or "") for message in request["messages"]]
    if request.get("tools"):
        return 0.0, _handed_on(texts, request["tools"][0]["function"]["name"])
    answers = answered("\n".join(texts))
    steps = marked("\n".join(texts))
    if not steps or not answers.keys() >= set(steps[-1].needs):
        return 0.0, None
    step = steps[-1]
    return step.seconds, {"content": json.dumps({"step": step.id, "answer": step.answer(answers)})}


def _handed_on(texts: list[str], tool: str) -> dict[str, Any]:
    """The supervisor's turn: the first message that names steps names all; who has an answer is done."""
    done = answered("\n".join(texts))
    task = next((steps for text in texts if (steps := marked(text))), [])
    step = next((step for step in task if step.id not in done), None)
    if step is None:
        return {"content": "All steps are done."}
    call = {"id": f"call-{step.id}", "type": "function", "function": {"name": tool, "arguments": "{}"}}
    return {"content": step.instruction, "tool_calls": [call]}


def _completion(message: dict[str, Any]) -> dict[str, Any]:
    finish = "tool_calls" if "tool_calls" in message else "stop"
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
    head = {"id": "1", "object": "chat.completion", "created": 0, "model": "simulated"}
    return {**head, "choices": [choice], "usage": usage}


@contextmanager
def serving() -> Iterator[str]:
    """The server's URL, for as long as it runs.

    Raises:
        RuntimeError: if it does not come up.
    """
    command = [sys.executable, "-m", "benchmarks.scheduling.server"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        if not (port := process.stdout.readline().strip()):
            raise RuntimeError(f"the simulated server ended with {process.wait()}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.communicate()


async def serve() -> None:
    """Serve until killed."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve())
