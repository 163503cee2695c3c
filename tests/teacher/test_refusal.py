"""What refusals are about, in the words of servers and gateways."""

from __future__ import annotations

from typing import Any

import pytest

from agentkd.teacher.contact import is_same_model, list_nearest, read_names
from agentkd.teacher.dialect import leave_out, list_fields
from agentkd.teacher.refusal import SYSTEM, Refusal, describe_error, read_refusal

CHAT = ("max_tokens", "temperature", "seed", "response_format", SYSTEM)
COMPLETION = ("max_tokens", "temperature", "seed", "n", "response_format", "json_schema", "stop")


def said(message: Any, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, **more}}


@pytest.mark.parametrize(
    ("status", "content", "cause"),
    [
        (400, "prompt is too long: 210000 tokens > 200000 maximum", "request"),
        (400, said("'max_tokens' is too large: 9. This model's maximum context length is 8 tokens"), "request"),
        (400, said("max_tokens is too large: 100000. This model supports at most 4096 completion tokens"), "unknown"),
        (400, said("The response was filtered by the content management policy", code="content_filter"), "request"),
        (403, said("Your input was flagged", metadata={"reasons": ["violence"]}), "request"),
        (400, said("Model names are case sensitive"), "unknown"),
        (413, "", "request"),
        (402, "", "server"),
        (403, "<html>forbidden</html>", "server"),
        (404, said("The model `gpt-9` does not exist", code="model_not_found"), "server"),
        (404, {"error": "model 'm' not found, try pulling it first"}, "server"),
        (404, {"detail": "Not Found"}, "server"),
        (302, "", "server"),
        (400, said("Your credit balance is too low to access the Anthropic API."), "server"),
        (400, [{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}], "server"),
        (403, said("User location is not supported for the API use."), "server"),
        (429, said("You exceeded your current quota, check billing", code="insufficient_quota"), "server"),
        (
            429,
            said("You exceeded your current quota, check billing. Retry in 9s", status="RESOURCE_EXHAUSTED"),
            "passing",
        ),
        (429, said("insufficient balance"), "server"),
        (404, said("model 'm' is being loaded"), "passing"),
        (503, "<html>our billing team</html>", "passing"),
        (500, said("seed of doubt"), "passing"),
        (529, said("Overloaded"), "passing"),
        (408, "took too long", "passing"),
        (400, said("Bad Request"), "unknown"),
        (422, "", "unknown"),
        (418, {"weird": [1, None]}, "unknown"),
    ],
)
def test_what_a_refusal_is_about(status: int, content: Any, cause: str) -> None:
    assert read_refusal(status, content, CHAT).cause == cause


@pytest.mark.parametrize(
    ("status", "content", "field"),
    [
        (400, said("Unsupported parameter: 'max_tokens' is not supported", param="max_tokens"), "max_tokens"),
        (400, said("Unsupported value: 'temperature' does not support 0 with this model."), "temperature"),
        (400, said("Unrecognized request argument supplied: seed"), "seed"),
        (400, said("property 'seed' is unsupported, did you mean 'tools'?"), "seed"),
        (400, said('json: unknown field "seed"'), "seed"),
        (422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": 1}]}, "seed"),
        (422, {"message": {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}}, "seed"),
        (400, said("upstream", metadata={"raw": '{"message": "seed is not supported"}'}), "seed"),
        (400, said("System role not supported"), SYSTEM),
        (500, said("Jinja Exception: Conversation roles must alternate user/assistant"), SYSTEM),
        (400, said("Developer instruction is not enabled for models/gemma"), SYSTEM),
        (400, said("This response_format type is unavailable now"), "response_format"),
        (400, said("Structured outputs are not supported by this model"), "response_format"),
        (404, said("No endpoints support response_format"), "response_format"),
        (400, said("The model does not exist"), ""),
        (400, said("the seeds are only good in spring"), ""),
    ],
)
def test_a_field_that_is_not_taken(status: int, content: Any, field: str) -> None:
    assert read_refusal(status, content, CHAT).field == field


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ("'n' : number must be at most 1", "n"),
        ("n > 1 is not supported", "n"),
        ("only one completion is supported, an answer of it", ""),
        ("stop sequences are not supported", "stop"),
        ("unknown field json_schema", "json_schema"),
        ("response_format of type json_schema is not supported", "response_format"),
    ],
)
def test_a_field_of_a_completion(message: str, field: str) -> None:
    assert read_refusal(400, said(message), COMPLETION).field == field


def test_a_field_that_was_not_sent_is_not_refused() -> None:
    assert read_refusal(400, said("seed is not supported"), ("max_tokens",)) == Refusal("unknown")


def test_requests_without_what_is_refused() -> None:
    talk = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}]
    request = {"model": "m", "messages": talk, "max_tokens": 5, "seed": 1}
    assert list_fields(request) == ["max_tokens", "seed", SYSTEM]
    assert leave_out(request, ()) is request
    left = leave_out(request, {"max_tokens", "seed", SYSTEM})
    merged = [{"role": "user", "content": "s\n\nu"}, {"role": "assistant", "content": "a"}]
    assert left == {"model": "m", "messages": merged, "max_completion_tokens": 5}
    assert list_fields(left) == ["max_completion_tokens"]
    assert "max_tokens" not in leave_out(left, {"max_tokens", "max_completion_tokens"})


def test_the_words_of_an_error() -> None:
    extra = {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "input": {"a": "secret"}}]}
    assert describe_error(extra) == "Extra inputs are not permitted (body.seed)"
    assert describe_error({"error": "model\n not  found"}) == "model not found"
    assert describe_error({"choices": []}) == "{'choices': []}" and describe_error("") == "no message"
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    assert describe_error({"error": deep})


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"data": [{"id": "a"}, {"id": 5}]}, ["a"]),
        ([{"id": "a"}, "b"], ["a", "b"]),
        ({"models": [{"name": "a"}]}, ["a"]),
        ({"data": None}, None),
        ("<html>", None),
        (None, None),
    ],
)
def test_lists_of_models(content: Any, names: list[str] | None) -> None:
    assert read_names(content) == names


def test_names_of_one_model() -> None:
    for model, name in (("m", "models/m"), ("m", "m:latest"), ("v/m:nitro", "v/m"), ("Org/M", "org/m")):
        assert is_same_model(model, name)
    for model, name in (("m", "m2"), ("llama:8b", "llama:70b"), ("m:nitro", "m")):
        assert not is_same_model(model, name)
    names = [f"vendor/model-{k}" for k in range(300)] + ["org/tiny-llama", "tiny"]
    assert list_nearest("tiny", names).startswith("tiny, org/tiny-llama, ") and "more" in list_nearest("tiny", names)
