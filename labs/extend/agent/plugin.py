"""An agent template of one's own: a call is a line, `@weather city="Melvik"`, and so is its result, `= rain`."""

import json
import re
from typing import Any

from swift.agent_template import BaseAgentTemplate, agent_template_map
from swift.infer_engine import Function

CALL = re.compile(r"@(\w+)")
ARGUMENT = re.compile(r" (\w+)=")


class Lines(BaseAgentTemplate):
    """Tools, calls and results as lines. ms-swift asks for each of the four below."""

    def _format_tools(self, tools: list[Any], system: str | None = None, user_message: dict | None = None) -> str:
        """The system's text: what there is to call."""
        described = []
        for tool in tools:
            about = self.unwrap_tool(self._parse_json(tool))
            names = " ".join(f"{name}=..." for name in about["parameters"].get("properties", {}))
            described.append(f"@{about['name']} {names}: {about['description']}")
        return "\n".join([*([system, ""] if system else []), "Tools, a call is a line:", *described])

    def _format_tool_calls(self, tool_call_messages: list[dict]) -> str:
        """What the assistant says for the calls of a row."""
        lines = []
        for message in tool_call_messages:
            call = self._parse_tool_call(message["content"])
            said = [f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in call["arguments"].items()]
            lines.append(" ".join([f"@{call['name']}", *said]))
        return "\n".join(lines)

    def _format_tool_responses(self, assistant_content: str, tool_messages: list[dict]) -> tuple[str, list]:
        """What stands behind a call until the assistant goes on: its end, and a turn of the user's with the results."""
        results = "\n".join(f"= {message['content']}" for message in tool_messages)
        turn = [part.replace("{{QUERY}}", results) if isinstance(part, str) else part for part in self.prompt]
        return assistant_content, [*self.separator, *turn]

    @property
    def prompt(self) -> list:
        """How the chat template writes a turn of the user's."""
        return self.template_meta.prompt if hasattr(self, "template_meta") else ["{{QUERY}}\n"]

    @property
    def separator(self) -> list:
        """How it ends one of the assistant's."""
        return self.template_meta.chat_sep if hasattr(self, "template_meta") else ["\n"]

    def get_toolcall(self, response: str) -> list[Function]:
        """The calls in what a model said: a server answers with them as `tool_calls`."""
        read = [self._read_call(line) for line in response.splitlines()]
        return [call for call in read if call]

    @staticmethod
    def _read_call(line: str) -> Function | None:
        """The call that a line is; None for any other line."""
        called = CALL.match(line)
        if not called:
            return None
        arguments, end = {}, called.end()
        try:
            while name := ARGUMENT.match(line, end):
                arguments[name[1]], end = json.JSONDecoder().raw_decode(line, name.end())
        except json.JSONDecodeError:
            return None
        return Function(name=called[1], arguments=arguments) if not line[end:].strip() else None


agent_template_map["lines"] = Lines
