"""The table of members that chat bodies may have: those that pass, those that are cut or stamped, and those of routers.

The sources are OpenAI's document and the public documentation of vLLM, SGLang, Ollama, llama.cpp, Groq, Mistral,
DeepSeek, Fireworks, Cerebras, OpenRouter, LiteLLM, Portkey and Bifrost, as of 2026-11.
"""

from __future__ import annotations

from typing import Final

CUT: Final = frozenset(
    {
        "cache_prompt",
        "id_slot",
        "kv_transfer_params",
        "priority",
        "prompt_cache_options",
        "prompt_cache_retention",
        "service_tier",
        "slot_id",
    }
)
"""Members that take a priority before other callers, or name a place in a cache that all callers share."""

STAMPED: Final = frozenset(
    {
        "cache_salt",
        "extra_key",
        "prompt_cache_isolation_key",
        "prompt_cache_key",
        "safety_identifier",
        "session_id",
        "user",
        "user_id",
    }
)
"""Members that name a cache or an end user; the provider sees a pseudonym that depends on the caller too."""

_CHANGED: Final = (
    "frequency_penalty logit_bias logprobs max_completion_tokens max_tokens metadata n parallel_tool_calls prediction "
    "presence_penalty random_seed seed store stream_options top_logprobs"
)

SHIELDS: Final = frozenset({"guardrails", "moderation"})
"""Members that ask for shields of this server; no provider gets them."""

CHANGED: Final = frozenset(_CHANGED.split())
"""Members that dialects refuse or rename, besides those of `CUT` and `STAMPED`."""

TOOL_TYPES: Final = frozenset({"function", "custom"})
"""Types of tools that the client runs; a provider runs others itself, some with another model or at an address."""

_OPENAI: Final = (
    "audio frequency_penalty function_call functions logit_bias logprobs max_completion_tokens max_tokens messages "
    "metadata modalities model n parallel_tool_calls prediction presence_penalty reasoning_effort "
    "response_format seed stop store stream stream_options temperature tool_choice tools top_logprobs top_p verbosity "
    "web_search_options"
)
_SAMPLING: Final = (
    "allowed_token_ids bad_words best_of do_sample dry_allowed_length dry_base dry_multiplier dry_penalty_last_n "
    "dry_sequence_breakers dynatemp_exponent dynatemp_range ignore_eos length_penalty min_keep "
    "min_new_tokens min_p min_tokens mirostat mirostat_eta mirostat_tau n_keep n_predict n_probs num_ctx "
    "num_predict penalize_nl random_seed repeat_last_n repeat_penalty repetition_detection repetition_penalty "
    "samplers stop_token_ids tfs_z top_a top_k typical_p use_beam_search xtc_probability xtc_threshold"
)
_FORM: Final = (
    "add_generation_prompt add_special_tokens chat_template_kwargs citation_options continue_final_message "
    "disable_tool_validation documents ebnf echo echo_last grammar guided_choice guided_grammar guided_json "
    "guided_regex guided_whitespace_pattern image_config include_stop_str_in_output json_schema "
    "mm_processor_kwargs no_stop_trim parse_tool_calls perf_metrics_in_response prefix prompt_logprobs "
    "prompt_truncate_len raw_output regex return_progress return_token_ids return_tokens_as_token_ids safe_prompt "
    "skip_special_tokens spaces_between_special_tokens structural_tag structured_outputs timings_per_token "
    "truncate_prompt_tokens usage"
)
_REASONING: Final = (
    "clear_thinking disable_reasoning enable_thinking include_reasoning prompt_mode reasoning reasoning_budget "
    "reasoning_format separate_reasoning stream_reasoning think thinking thinking_budget thinking_forced_open "
    "thinking_token_budget"
)

PASSED: Final = frozenset(f"{_OPENAI} {_SAMPLING} {_FORM} {_REASONING}".split()) | CUT | STAMPED
"""Members that are known to choose neither a model nor a place; `CUT` and `STAMPED` have rules of their own."""

_CHOICES: Final = (
    "adapter adapterid adapters adaptersource allowedmodelregion apibase apikey apitoken apitype apiversion auth "
    "authorization awsregionname backend backendid baseurl bootstraphost bootstrapport cachedcontent "
    "compoundcustom contentpolicyfallbacks contextwindowfallbacks credentials customllmprovider datasources "
    "defaultfallbacks deployment deploymentid deployments draftmodel endpoint endpointid endpoints engine "
    "extrabody extraheaders extraquery fallback fallbackmodel fallbackmodels fallbacks gateway headers host hosts "
    "kvtransferparams litellmparams llmprovider llmproviders location lora loraadapter loraname lorapath "
    "lorarequest loras mcpservers model modelconfig modelgroup modelid modelinfo modellist modelname models nvext "
    "order organization plugins port preset project promptid provider providerid provideroptions providers proxy "
    "region regionname remotehost remoteport requesty route router routersettingsoverride routes routing "
    "routingstrategy safetymodel server servers serverurl specificdeployment speculative speculativeconfig tags "
    "target targets uri url userconfig vertexcredentials vertexlocation vertexproject vllmxargs weights"
)

ROUTING: Final = frozenset(_CHOICES.split())
"""Names by which routers choose a model or a place, in small letters without `_` and `-`.

A provider of another machine gets no name but those of `PASSED` anyway; these are searched inside of their values.
"""

USERS_REGION: Final = ("web_search_options", "user_location", "approximate", "region")
"""The path of the one member in OpenAI's document that has such a name and passes: it tells where the user is."""
