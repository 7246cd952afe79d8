"""The names of models, as rules and requests use them."""

from __future__ import annotations

from policy.model_names import model_aliases, model_names
from policy.source.document import parse_document

CONFIG = """
models:
  - {model_id: llama3.2, provider_id: ollama, provider_model_id: null}
  - {model_id: my-llama, provider_id: vllm, provider_model_id: llama-3-2-3b}
  - {model_id: twice, provider_id: a}
  - {model_id: twice, provider_id: b}
  - {model_id: "${env.MODEL:__disabled__}", provider_id: ollama}
  - {model_id: 7}
"""


def test_the_canonical_name_comes_first_and_no_name_twice() -> None:
    assert model_names("ollama", "llama3.2", None) == ("ollama/llama3.2", "llama3.2")
    assert model_names("vllm", "my-llama", "llama-3-2-3b") == ("vllm/llama-3-2-3b", "vllm/my-llama", "my-llama")


def test_every_unambiguous_name_leads_to_all_names() -> None:
    aliases = model_aliases(parse_document(CONFIG, "config.yaml"), {})
    assert aliases["my-llama"] == aliases["vllm/llama-3-2-3b"] == ("vllm/llama-3-2-3b", "vllm/my-llama", "my-llama")
    assert aliases["llama3.2"] == ("ollama/llama3.2", "llama3.2")
    assert "twice" not in aliases
    assert aliases["b/twice"] == ("b/twice", "twice")
    assert "ollama/__disabled__" not in aliases


def test_a_model_switched_on_by_the_environment_has_its_names() -> None:
    aliases = model_aliases(parse_document(CONFIG, "config.yaml"), {"MODEL": "m"})
    assert aliases["m"] == ("ollama/m", "m")


def test_aliases_are_names_too_and_no_name_is_that_of_two_models() -> None:
    text = """
models:
  - {model_id: a, provider_id: p, aliases: [gpt-4o, "${env.FURTHER:+more}", both]}
  - {model_id: b, provider_id: p, aliases: [both, 7]}
"""
    names = model_aliases(parse_document(text, "config.yaml"), {})
    assert names["gpt-4o"] == names["a"] == ("p/a", "a", "gpt-4o", "both")
    assert "both" not in names
    assert model_aliases(parse_document(text, "config.yaml"), {"FURTHER": "1"})["more"][0] == "p/a"
