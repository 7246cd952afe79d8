"""A server whose requests leave every kind of line in the decision log."""

from __future__ import annotations

CONFIG = """
    version: 2
    apis: [inference]
    providers:
      inference:
      - {provider_id: echo, provider_type: inline::echo}
    models:
    - {model_id: open, provider_id: echo}
    - {model_id: shut, provider_id: echo}
    - {model_id: third, provider_id: echo}
    server:
      max_concurrent_requests: 4
      quota:
        kvstore: {type: sqlite, db_path: FOLDER/quotas.db}
        authenticated_max_requests: 1000
        limits:
        - {when: user with bob in roles, max_requests: 1, max_tokens_per_period: 1000}
        - {when: user with admin in roles, max_requests: 500, max_tokens_per_period: 2}
      auth:
        provider_config: {type: custom, endpoint: "https://auth.example.com/validate"}
        access_policy:
        - forbid: {actions: [read], resource: model::shut}
        - forbid: {actions: [create]}
          when: user with reader in roles
        - forbid: {actions: [read], resource: "regex:sql_record::openai_files::.*[0-7]$"}
        - permit: {actions: [read]}
        - permit: {actions: [create, update, delete]}
          when: user is owner
        route_policy:
        - forbid: {paths: /v1/providers*}
        - permit: {paths: "*"}
"""
