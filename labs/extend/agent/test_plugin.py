"""The agent template, tested as ms-swift tests its own: what it writes is what it reads."""

import json
import unittest

import plugin
from swift.agent_template import agent_template_map

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": {"properties": {"city": {}}}},
}


class TestLines(unittest.TestCase):
    def setUp(self):
        self.template = agent_template_map["lines"]()

    @staticmethod
    def call(**arguments):
        return {"role": "tool_call", "content": json.dumps({"name": "weather", "arguments": arguments})}

    def test_it_is_registered(self):
        self.assertIsInstance(self.template, plugin.Lines)

    def test_tools_stand_behind_the_system(self):
        self.assertEqual(
            self.template._format_tools([json.dumps(WEATHER)], "Be short."),
            "Be short.\n\nTools, a call is a line:\n@weather city=...: The weather.",
        )

    def test_a_call_that_is_written_is_read_as_it_was(self):
        for arguments in ({"city": "Melvik"}, {"city": 'a "b" = c', "days": 0}, {"at": [1, {"a b": None}]}, {}):
            written = self.template._format_tool_calls([self.call(**arguments)])
            (read,) = self.template.get_toolcall(f"I look.\n{written}\n")
            self.assertEqual((read.name, json.loads(read.arguments)), ("weather", arguments))

    def test_several_calls_are_several_lines(self):
        written = self.template._format_tool_calls([self.call(city="Melvik"), self.call(city="Tarn")])
        self.assertEqual(written.splitlines(), ['@weather city="Melvik"', '@weather city="Tarn"'])
        self.assertEqual(len(self.template.get_toolcall(written)), 2)

    def test_what_is_no_call_is_none(self):
        for said in ("Write to me@weather", "@weather city=Melvik", '@weather city="Melvik" please', "It rains."):
            self.assertEqual(self.template.get_toolcall(said), [], said)

    def test_each_result_is_a_line(self):
        said, behind = self.template._format_tool_responses('@weather city="Melvik"', [{"content": "rain"}])
        self.assertEqual(said, '@weather city="Melvik"')
        self.assertIn("= rain", "".join(behind))


if __name__ == "__main__":
    unittest.main()
