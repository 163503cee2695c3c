"""Chat templates in the manner of some families: two with tools, one that looks back, and one without tools."""

from __future__ import annotations

_SYSTEM = (
    "{% set first = 1 if messages[0].role == 'system' else 0 %}"
    "{{ '<|im_start|>system\\n' + (messages[0].content if first else 'You help.') }}"
)
_OPEN = "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
_THOUGHTS = (
    "{% if m.role == 'assistant' and loop.last %}{{ '<think>' + (m.reasoning_content or '') + '</think>' }}{% endif %}"
)

QWEN = (
    _SYSTEM + "{% if tools %}{{ '\\n<tools>' }}{% for tool in tools %}{{ '\\n' + tool | tojson }}{% endfor %}"
    "{{ '\\n</tools>' }}"
    "{% endif %}{{ '<|im_end|>\\n' }}"
    "{% for m in messages[first:] %}"
    "{% if m.role == 'tool' %}"
    "{{ '<|im_start|>user\\n<tool_response>\\n' + m.content + '\\n</tool_response><|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' }}THOUGHTS{{ m.content }}"
    "{% for call in m.tool_calls or [] %}"
    "{{ '\\n' if m.content or not loop.first else '' }}"
    '{{ \'<tool_call>\\n{"name": "\' + call.function.name + \'", "arguments": \' }}'
    "{{ call.function.arguments | tojson }}{{ '}\\n</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\\n' }}{% endif %}{% endfor %}" + _OPEN
)
THINKER = QWEN.replace("THOUGHTS", _THOUGHTS)
"""In the manner of Qwen3: thoughts stand before the last answer, and are dropped from earlier ones."""
QWEN = QWEN.replace("THOUGHTS", "")
"""In the manner of Qwen2.5: schemas in the system's turn, calls between tags, results in a turn of the user."""

LLAMA = (
    _SYSTEM + "{{ '<|im_end|>' }}{% for m in messages[first:] %}"
    "{% if m.tool_calls %}{% if m.tool_calls | length != 1 %}"
    "{{ raise_exception('This model only supports single tool-calls at once!') }}{% endif %}"
    "{% set call = m.tool_calls[0].function %}"
    '{{ \'<|im_start|>assistant\\n{"name": "\' + call.name + \'", "parameters": \' }}'
    "{{ call.arguments | tojson }}{{ '}<|im_end|>' }}"
    "{% elif m.role == 'tool' %}{{ '<|im_start|>ipython\\n' + m.content | tojson + '<|im_end|>' }}"
    "{% else %}{{ '<|im_start|>' + m.role + '\\n' }}"
    "{% if loop.first and tools %}{% for tool in tools %}{{ tool | tojson + '\\n' }}{% endfor %}{% endif %}"
    "{{ m.content | trim + '<|im_end|>' }}{% endif %}{% endfor %}" + _OPEN
)
"""In the manner of Llama 3.1: schemas in the user's first turn, one call at a time."""

PLAIN = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}" + _OPEN
"""In the manner of SmolLM2: without tools; a turn that only calls them is empty."""
