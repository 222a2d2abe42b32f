"""A program that speaks Claude Code's protocol on its standard streams, and does and bills what its prompts say.

A prompt is JSON: how many ``requests`` to make at which ``usd``, and whether to ``die``, to ``hang`` or to ``fail``
after them. As the real one, it looks at ``--max-budget-usd`` after each request; its totals run on over turns and, told
to ``--resume``, over sessions; and it goes on with a turn whether anybody reads or not.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

ABORTED = "aborted_streaming"


class Program:
    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self.folder = folder
        self.limit = options.max_budget_usd
        self.model = options.model or "claude-sonnet-4-5"
        self.session = options.session_id or options.resume or f"session-{os.getpid()}"
        kept = folder / f"{options.resume}.total"
        self.total, self.tokens = json.loads(kept.read_text()) if options.resume and kept.exists() else (0.0, 0)
        self.note("started", limit=self.limit, model=self.model)

    def note(self, what: str, **fields: object) -> None:
        """Write down what happened, for the test to read: in one step, as many programs write at once."""
        line = json.dumps({"what": what, "session": self.session, **fields}) + "\n"
        file = os.open(self.folder / "bill", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, line.encode())
        os.close(file)

    def run(self) -> int:
        failed = False
        for line in sys.stdin:
            message = json.loads(line)
            if message["type"] == "control_request":
                self.obey(message)
            elif message["type"] == "user":
                failed = self.turn(message["message"]["content"])
        return int(failed)

    def obey(self, message: dict[str, Any]) -> None:
        if message["request"]["subtype"] == "interrupt":
            self.result("error_during_execution", terminal_reason=ABORTED)
        answer = {"subtype": "success", "request_id": message["request_id"], "response": {"commands": []}}
        say({"type": "control_response", "response": answer})

    def turn(self, prompt: str) -> bool:
        """Do what a prompt says; True if it failed."""
        if prompt == "/clear":
            self.total, self.tokens = 0.0, 0
            say({"type": "conversation_reset", "new_conversation_id": "new", **self.signed()})
            return self.result("success")
        wanted = json.loads(prompt)
        say({"type": "system", "subtype": "init", "claude_code_version": "2.1.332", **self.signed()})
        for number in range(wanted.get("requests", 1)):
            if self.limit is not None and self.total >= self.limit:
                return self.result("error_max_budget_usd", terminal_reason="budget_exhausted", told=number)
            self.total += wanted.get("usd", 0.01)
            self.tokens += 100
            self.note("request", usd=wanted.get("usd", 0.01))
            self.say_something()
        if wanted.get("die"):
            os.kill(os.getpid(), signal.SIGKILL)
        if wanted.get("hang"):
            return False
        if wanted.get("fail"):
            return self.result("success", is_error=True, api_error_status=wanted["fail"])
        if self.limit is not None and self.total >= self.limit:
            return self.result("error_max_budget_usd", terminal_reason="budget_exhausted")
        return self.result("success", told=wanted.get("requests", 1))

    def say_something(self) -> None:
        content = [{"type": "text", "text": "So be it."}]
        message = {"role": "assistant", "model": self.model, "content": content, "usage": {"output_tokens": 1}}
        say({"type": "assistant", "message": message, "parent_tool_use_id": None, **self.signed()})

    def result(self, subtype: str, *, told: int = 0, **fields: object) -> bool:
        """End the turn; True if it failed."""
        failed = bool(fields.setdefault("is_error", subtype != "success"))
        (self.folder / f"{self.session}.total").write_text(json.dumps([self.total, self.tokens]))
        tokens = {"inputTokens": self.tokens * 9 // 10, "outputTokens": self.tokens // 10}
        say(
            {
                "type": "result",
                "subtype": subtype,
                "duration_ms": 1,
                "duration_api_ms": 1,
                "num_turns": 1,
                "total_cost_usd": self.total,
                "usage": {"input_tokens": 90 * told, "output_tokens": 10 * told},
                "modelUsage": {self.model: tokens},
                **fields,
                **self.signed(),
            }
        )
        return failed

    def signed(self) -> dict[str, str]:
        return {"session_id": self.session, "uuid": "one"}


def say(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--max-budget-usd", type=float)
    for name in ("--model", "--resume", "--session-id"):
        parser.add_argument(name)
    options, _ = parser.parse_known_args()
    return Program(options.folder, options).run()


if __name__ == "__main__":
    sys.exit(main())
