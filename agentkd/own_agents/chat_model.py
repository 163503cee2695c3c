"""`AgentkdChat`: the run's teacher as a chat model of LangChain, for agents whose own models speak another protocol.

    from agentkd.own_agents.chat_model import AgentkdChat
    graph = create_react_agent(AgentkdChat(), tools)

A graph on `ChatOpenAI`, or on anything else that reads OPENAI_BASE_URL and OPENAI_API_KEY, needs none of this.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import invalid_tool_call, tool_call
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool


class AgentkdChat(BaseChatModel):
    """A chat model at `base_url` and `api_key`, by default those that `agentkd generate` gives the agent.

    `max_tokens` and `temperature` are the run's where they are left out."""

    base_url: str | None = None
    api_key: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None

    @property
    def _llm_type(self) -> str:
        return "agentkd"

    def bind_tools(
        self, tools: Sequence[Tool], *, tool_choice: str | None = None, **kwargs: Any
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools to call, as LangChain's own models take them; `any` means that it must call one."""
        options: dict[str, Any] = {"tools": [convert_to_openai_tool(tool) for tool in tools], **kwargs}
        if tool_choice:
            names = [tool["function"]["name"] for tool in options["tools"]]
            named: Any = {"type": "function", "function": {"name": tool_choice}}
            word = "required" if tool_choice == "any" else tool_choice
            options["tool_choice"] = named if tool_choice in names else word
        return self.bind(**options)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        from openai import OpenAI

        with OpenAI(base_url=self.base_url, api_key=self.api_key, timeout=None) as client:
            return read_result(client.chat.completions.create(**self._request(messages, stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        from openai import AsyncOpenAI

        async with AsyncOpenAI(base_url=self.base_url, api_key=self.api_key, timeout=None) as client:
            return read_result(await client.chat.completions.create(**self._request(messages, stop, kwargs)))

    def _request(self, messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> dict[str, Any]:
        own = {"max_tokens": self.max_tokens, "temperature": self.temperature, "stop": stop}
        given = {name: value for name, value in own.items() if value is not None}
        return {"model": "agentkd", "messages": convert_to_openai_messages(messages), **given, **options}


def read_result(completion: Any) -> ChatResult:
    """A completion of the `openai` package as LangChain's result. Arguments that are no JSON are an invalid call."""
    choice = completion.choices[0]
    valid, invalid = [], []
    for call in choice.message.tool_calls or ():
        name, arguments = call.function.name, call.function.arguments
        try:
            values = json.loads(arguments or "{}")
        except ValueError as error:
            invalid.append(invalid_tool_call(name=name, args=arguments, id=call.id, error=str(error)))
        else:
            valid.append(tool_call(name=name, args=values, id=call.id))
    usage = completion.usage
    counted = None
    if usage is not None:
        counted = UsageMetadata(
            input_tokens=usage.prompt_tokens, output_tokens=usage.completion_tokens, total_tokens=usage.total_tokens
        )
    message = AIMessage(
        content=choice.message.content or "",
        tool_calls=valid,
        invalid_tool_calls=invalid,
        usage_metadata=counted,
        response_metadata={"finish_reason": choice.finish_reason, "model_name": completion.model},
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
