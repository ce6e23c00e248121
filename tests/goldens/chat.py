"""What `transformers` makes of conversations with published chat templates: tests/goldens/chat/cases.json.

The templates in chat/templates are copies; the README says whence.
"""

import datetime
import json
import pathlib

from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

HERE = pathlib.Path(__file__).parent / "chat"
NOW = datetime.datetime(2025, 3, 9, 14, 5, 6)

SPECIALS = {
    "llama-3": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama-3.1": ("<|begin_of_text|>", "<|eot_id|>"),
    "llama-3.2": ("<|begin_of_text|>", "<|eot_id|>"),
    "qwen-2.5": (None, "<|im_end|>"),
    "qwen-3": (None, "<|im_end|>"),
    "gemma-2": ("<bos>", "<eos>"),
    "mistral-v1": ("<s>", "</s>"),
    "mixtral": ("<s>", "</s>"),
    "mistral-nemo": ("<s>", "</s>"),
    "phi-3.5": ("<s>", "<|endoftext|>"),
    "hermes-3-tool-use": ("<|begin_of_text|>", "<|im_end|>"),
    "deepseek-r1": ("<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"),
    "smollm-3": (None, "<|im_end|>"),
    "constructs": ("<s>", "</s>"),
    "json": ("<s>", "</s>"),
}

# What no published template above happens to use, in one of ours.
CONSTRUCTS = """{%- set ns = namespace(n=0, seen=[]) -%}
{{- bos_token }}
{# a comment #}
{% for m in messages %}
    {% if loop.index0 == 3 %}
        {%- break %}
    {% endif %}
    {%- if m.role == 'system' %}{% continue %}{% endif %}
    {% set ns.n = ns.n + 1 %}
    {% set ns.seen = ns.seen + [m['role']] %}
  {{ loop.index }}/{{ loop.length }} {{ loop.first }} {{ loop.last }} [{{ m.content.strip() }}] [{{ m.content.lstrip('H') }}]
  {%- generation %} {{ m.content | upper }} {%- endgeneration %}
  {{ m.content.split(' ') | length }} {{ m.content.startswith('H') }} {{ m.content.endswith(('?', '!')) }}
  {{ m.content.replace('H', 'J').title() }} {{ m.content.find('o') }} {{ m.content[1:4] }}|{{ m.content[::-1] }}|{{ m.content[-3:] }}
{% else %}
none
{% endfor %}
{{ ns.n }} {{ ns.seen }} {{ ns.seen | join('+') }} {{ {'a': 1, 'b': [true, none, 2.5, 'x']} }}
{% for k, v in {'z': 1, 'a': 2}.items() %}{{ k }}={{ v }};{% endfor %}
{% macro say(what, times=2) %}{{ what * times }}{% endmacro %}{{ say('ab') }}{{ say('c', times=3) }}
{{ missing is defined }} {{ missing }}|{{ none }} {{ tools }} {{ documents is none }} {{ 7 // 2 }} {{ 7 / 2 }} {{ 2 ** 5 }} {{ 7 % 4 }} {{ -7 // 2 }}
{{ 'a' if 1 > 2 else 'b' }} {{ 'x' in 'xyz' }} {{ 3 not in [1, 2] }} {{ 1 is odd }} {{ 'a' is string }} {{ messages is iterable }} {{ {} is mapping }}
{{ messages | map(attribute='role') | list }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | last is defined }}
{{ (messages | first).get('nothing', 'fallback') }} {{ 'a,b,c'.split(',', 1) }} {{ ' x '.rstrip() }}| {{ 'abc' | reverse }} {{ range(5) | list }}
{{- ' ' ~ 1 ~ none ~ true }} {{ [3, 1, 2] | sort }} {{ 'tEsT' | capitalize }} {{ '  t ' | trim }} {{ {'b': 1, 'a': 2} | dictsort }}
{{ strftime_now('%d %b %Y %H:%M:%S %A %j') }}
{% if add_generation_prompt %}<go>{% endif %}
"""

JSON = """{{ data | tojson }}
{{ data | tojson(indent=2) }}
{{ data | tojson(indent=4, sort_keys=true) }}
{{ data | tojson(ensure_ascii=true) }}
{{ data | tojson(separators=(',', ':')) }}
"""

DATA = {
    "text": "quote \" back \\ slash / <tag> & é 😀 \u2028 \x07 \n\t",
    "numbers": [1, -2, 2.0, 0.1, 1e20, 1.5e-7, 12345678901234567890],
    "b": True, "a": None, "empty": [{}, []], "nested": {"z": [[1], [2, [3]]], "y": {"x": "w"}},
}

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather in a <city> & its surroundings: \"now\", 15 °C",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "A city, such as Zürich"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
            "return": {"type": "string", "description": "text"},
        },
    },
    {"type": "function", "function": {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}}}},
]


def m(role, content, **fields):
    return {"role": role, "content": content, **fields}


CALL = {"id": "abcdefghi", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}

CONVERSATIONS = {
    "one": [m("user", "Hello there!")],
    "system": [m("system", "You are terse."), m("user", "Hello?")],
    "turns": [m("user", "Hi"), m("assistant", "Hello. "), m("user", " How are you? ")],
    "long": [m("system", " Be kind.\n"), m("user", "1"), m("assistant", "2"), m("user", "3"), m("assistant", "4\n")],
    "unicode": [m("user", "Grüß dich, 世界 😀\u00a0\u200b{{ not a template }} <|eot_id|> 'quote' \"double\"")],
    "white space": [m("user", "\n\n  two lines\n\tand a tab  \r\n"), m("assistant", "   ")],
    "empty": [m("user", "")],
    "nothing": [],
    "wrong order": [m("user", "a"), m("user", "b")],
    "assistant first": [m("assistant", "a"), m("user", "b")],
    "unknown role": [m("narrator", "Meanwhile"), m("user", "b")],
    "tool call": [
        m("user", "Weather?"),
        m("assistant", "", tool_calls=[CALL]),
        m("tool", "{\"degrees\": 15}", tool_call_id="abcdefghi", name="get_weather"),
        m("assistant", "15 degrees."),
        m("user", "Thanks"),
    ],
    "thinking": [m("user", "2+2?"), m("assistant", "<think>\neasy\n</think>\n\n4"), m("user", "and 3+3?")],
}

OPTIONS = [
    {},
    {"add_generation_prompt": True},
    {"add_generation_prompt": True, "tools": TOOLS},
    {"date_string": "1 Jan 2020", "tools_in_user_message": False, "tools": TOOLS, "enable_thinking": False},
]


class Frozen(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def main():
    chat_template_utils.datetime = Frozen
    templates = {path.stem: path.read_text(encoding="utf-8") for path in sorted((HERE / "templates").glob("*.jinja"))}
    templates |= {"constructs": CONSTRUCTS, "json": JSON}
    cases, outcomes, everything = [], set(), {}
    for name, text in templates.items():
        bos, eos = SPECIALS[name]
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<unk>": 0}, "<unk>")))
        tokenizer.bos_token, tokenizer.eos_token = bos, eos
        tokenizer.chat_template = text
        for title, messages in CONVERSATIONS.items():
            for index, options in enumerate(OPTIONS):
                if name == "json":
                    if title != "one" or index > 0:
                        continue
                    options = {"data": DATA}
                case = {"template": name, "conversation": title, "options": index}
                try:
                    case["text"] = tokenizer.apply_chat_template(messages, tokenize=False, **options)
                except Exception as error:
                    case["error"] = str(error)
                outcomes.add((name, "text" if "text" in case else "error"))
                cases.append(case)
        everything[name] = {key: value for key, value in tokenizer.special_tokens_map.items()}
    assert all((name, "text") in outcomes for name in templates), outcomes
    for name in ["gemma-2", "mistral-v1", "mixtral", "mistral-nemo"]:
        assert (name, "error") in outcomes, name
    assert len({case.get("text") for case in cases}) > 250
    golden = {
        "now": NOW.isoformat(),
        "ours": {"constructs": CONSTRUCTS, "json": JSON},
        "specials": everything,
        "conversations": CONVERSATIONS,
        "options": OPTIONS,
        "data": DATA,
        "cases": cases,
    }
    (HERE / "cases.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    print(len(cases), "cases", sum("error" in case for case in cases), "errors")


if __name__ == "__main__":
    main()
