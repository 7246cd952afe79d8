"""Limits of models and their providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from policy import model_choices
from server.api.completions import body as completions
from server.api.models import candidates, inputs
from server.cli.limits.row import COMES_AGAIN, Limit
from server.inference import breaker, own_models
from server.inference.answers import vectors
from server.inference.providers import keys, retries, vector_answers, word_llama
from server.inference.providers.bedrock import answers as bedrock_answers
from server.inference.providers.bedrock import client as bedrock
from server.inference.providers.bedrock import embedding_models, frames
from server.inference.providers.bedrock import vectors as bedrock_vectors
from server.inference.providers.llama_cpp import client, forms, process
from server.local_files import secrets

CONSTANTS: Final[dict[str, Any]] = {
    "bedrock": bedrock,
    "bedrock_answers": bedrock_answers,
    "bedrock_vectors": bedrock_vectors,
    "breaker": breaker,
    "candidates": candidates,
    "choices": model_choices,
    "client": client,
    "completions": completions,
    "embedding_models": embedding_models,
    "forms": forms,
    "frames": frames,
    "inputs": inputs,
    "keys": keys,
    "own_models": own_models,
    "process": process,
    "retries": retries,
    "secrets": secrets,
    "vector_answers": vector_answers,
    "vectors": vectors,
    "word_llama": word_llama,
}
"""Modules by the names that rows give them."""

TEXTS: Final[Sequence[Limit]] = (
    Limit(
        "prompts of one request, a token id in them, and completions of all of them",
        "{inputs.MOST_INPUTS}; {inputs.LARGEST_ID}; {completions.MOST_COMPLETIONS}",
        "400",
    ),
    Limit(
        "inputs of one request for embeddings, and a token id in them",
        "{inputs.MOST_INPUTS}; {inputs.LARGEST_ID}",
        "400",
    ),
    Limit(
        "a provider's answer with embeddings, and one embedding in it",
        "{vector_answers.MOST_ANSWER:bytes}, {vectors.MOST_ENTRY:bytes}; "
        "more than {vector_answers.FREE:bytes} take room",
        "502",
    ),
    Limit(
        "a text that `inline::wordllama` embeds, and all texts of one request",
        "{word_llama.LONGEST:bytes}, {word_llama.MOST_BYTES:bytes}",
        "400",
    ),
    Limit(
        "turns with a model of `inline::llama-cpp`",
        "`parallel`, of one caller one less; {client.WAITING} wait, {client.WAITING_EACH} of one caller, "
        "for {client.WAIT_SECONDS:seconds}; for a model that is being loaded {process.PATIENCE_SECONDS:seconds}",
        "429 or 503, with `Retry-After`",
    ),
    Limit(
        "a body to such a model, and a form that it has to follow",
        "{client.TOKEN_BYTES} bytes for each token of its context and {client.FREE_BYTES:bytes}; "
        "{forms.MOST_BYTES:bytes}, {forms.MOST_CHOICES} values of `enum`, properties or alternatives, patterns of "
        "{forms.LONGEST_PATTERN} characters with {forms.MOST_REPEATS} repetitions inside of each other; no `grammar`",
        "400",
    ),
    Limit(
        "a model of `inline::llama-cpp` that computes nothing",
        "{process.STUCK_SECONDS:seconds}",
        "502; it is ended and loaded again",
    ),
    Limit(
        "requests in a row of one caller under which such a model ends, and for how long that caller is refused then",
        "{client.CRASHES}; {process.AGAIN_SECONDS:seconds}",
        COMES_AGAIN,
    ),
)
"""Rows about completions, embeddings and the models that run beside this server."""

PROVIDERS: Final[Sequence[Limit]] = (
    Limit(
        "an answer of Bedrock in one piece; one frame of a stream, and its headers",
        "{bedrock.MOST_WHOLE:bytes}; {frames.MAX_FRAME:bytes}, {frames.MAX_FRAME_HEADERS:bytes}",
        "502; the stream ends with an error",
    ),
    Limit(
        "calls of tools that a stream of Bedrock with a guardrail holds back",
        "{bedrock_answers.MOST_HELD:bytes}",
        "the stream ends with an error",
    ),
    Limit(
        "numbers of an embedding of Bedrock, and requests for one list of texts at the same time",
        "{embedding_models.MOST_NUMBERS}; {bedrock_vectors.AT_ONCE}",
        "502; others wait",
    ),
    Limit(
        "a file with the key of a provider, and how often it is looked at",
        "{secrets.MAX_KEY_FILE:bytes}; every {keys.LOOK_SECONDS:seconds} at most, "
        "and one request waits for it {keys.WAIT_SECONDS:seconds}",
        "the configuration is refused; of a later file, the key before it stays",
    ),
    Limit(
        "a provider's own list of models, its age, and that of a failure to get it",
        "{own_models.MOST_LISTED}; {own_models.KEPT_SECONDS:seconds}, {own_models.FAILED_SECONDS:seconds}",
        "further ones are left out",
    ),
)
"""Rows about Bedrock, keys of providers and their lists of models."""

CHOICES: Final[Sequence[Limit]] = (
    Limit("further names of a model", "{choices.MOST_ALIASES}", "400"),
    Limit(
        "models that a model names under `fallback`, and under `weights`, and models that are looked up for a request",
        "{choices.MOST_NAMED}; {candidates.MOST_CANDIDATES}",
        "400; further ones are not asked",
    ),
    Limit(
        "pauses between attempts to connect to a provider, and the time from which on none is made",
        "{retries.PAUSE_SECONDS:seconds}, each twice as long as the one before; {retries.RETRY_SECONDS:seconds}",
        "502",
    ),
    Limit(
        "failures in a row that one caller's requests may have caused and that count towards a probe, callers whose "
        "own failures are remembered, the time that one request may take to try a provider again, and that between "
        "two trials of one caller",
        "{breaker.MOST_OF_ONE} of each provider; {breaker.MOST_CALLERS}; {breaker.TRIAL_SECONDS:seconds}; "
        "{breaker.AGAIN_SECONDS:seconds}",
        "503, with `Retry-After`",
    ),
)
"""Rows about the choice between models, and about attempts that failed."""
