"""The policies of the specification as printed, their indentation restored; each stands under `server.auth`."""

from __future__ import annotations

P1 = """
    provider_config:
      type: "github_token"
      github_api_base_url: "https://api.github.com"
    access_policy:
    - permit:
        principal: user-1
        actions: [create, read, delete]
      description: user-1 has full access to all resources
    - permit:
        principal: user-2
        actions: [read]
        resource: model::model-1
      description: user-2 has read access to model-1 only
"""
P2 = """
    provider_config:
      type: "oauth2_token"
      audience: https://kubernetes.default.svc.cluster.local
      issuer: https://kubernetes.default.svc.cluster.local
      tls_cafile: /home/gsim/.minikube/ca.crt
      jwks:
        uri: https://kubernetes.default.svc.cluster.local:8443/openid/v1/jwks
        token: ${env.TOKEN}
    access_policy:
    - permit:
        principal: system:serviceaccount:my-namespace:my-serviceaccount
        actions: [create, read, delete]
      description: specific serviceaccount has full access to all resources
    - permit:
        principal: system:serviceaccount:default:default
        actions: [read]
        resource: model::model-1
      description: default account has read access to model-1 only
"""
P3 = """
    access_policy:
    - permit:
        actions: [read]
        resource: model::*
      description: all users have read access to models
    - forbid:
        actions: [create, delete]
        resource: model::*
      unless: user with admin in roles
      description: only user with admin role can create or delete models
    - permit:
        actions: [create, read, delete]
      when: user is owner
      description: users can create resources other than models and read and delete those they own
    - permit:
        actions: [read]
      when: user in owner teams
      description: any user has read access to any resource created by a user with the same team
"""
P4 = r"""
    access_policy:
    - permit:
        actions: [read]
        resource: regex:model::(llama|mistral)-.*
      when: user with developer in roles
      description: developers can read llama and mistral models
    - permit:
        actions: [read]
        resource: regex:model::.*-3\\.\\d+-.*
      when: user with user in roles
      description: users can read version 3.x models
"""
P5 = """
    provider_config:
      type: "oauth2_token"
      jwks:
        uri: "https://my-auth-provider.com/jwks"
    access_policy:
    # Allow all authenticated users to use configured models for inference
    - permit:
        actions: [read]
        resource: model::*
      description: Any authenticated user can use configured models
""" + "".join(
    f"""
    - permit:
        actions: [create]
        resource: sql_record::{table}::*
      description: Any authenticated user can create
    - permit:
        actions: [{actions}]
        resource: sql_record::{table}::*
      when: user is owner
      description: Users can only access their own
"""
    for table, actions in {
        "openai_files": "read, delete",
        "openai_conversations": "read, update, delete",
        "conversation_items": "read, update, delete",
        "responses": "read, update, delete",
    }.items()
)
ROUTES = {
    "R0": """
    route_policy:
    - permit:
        paths: ["/v1/files*", "/v1/models*", "regex:^/v1/admin/.*$"]
""",
    "R1": """
    route_policy:
    - permit:
        paths: ["/v1/health", "/v1/version"]
      description: "Public monitoring routes"
    - permit:
        paths: "/v1/chat/completions"
      description: "Allow inference"
""",
    "R2": """
    provider_config:
      type: "oauth2_token"
      # ... provider configuration ...
    route_policy:
    - permit:
        paths: "/v1/chat/completions"
      when: user with developer in roles
      description: "Developers can use inference"
    - permit:
        paths: ["/v1/files*", "/v1/models*"]
      when: user with user in roles
      description: "Users can manage files and models"
    - permit:
        paths: "*"
      when: user with admin in roles
      description: "Admins have full access"
""",
    "R3": """
    provider_config:
      type: "oauth2_token"
    route_policy:
    - permit:
        paths: ["/v1/health", "/v1/version"]
      description: "Public routes (no authentication required)"
    - permit:
        paths: "/v1/admin*"
      when: user with admin in roles
      description: "Admin routes require admin role"
    - permit:
        paths: "/v1/chat/completions"
      when: user with developer in roles
      description: "Inference requires developer role"
""",
    "R4": """
    provider_config:
      type: "oauth2_token"
    route_policy:
    - permit:
        paths: ["/v1/health", "/v1/version"]
      description: "Public health check routes"
    - permit:
        paths: regex:^/v1/(files|providers|models)(/.*)?$
      when: user with user in roles
      description: "Users can access files, providers, and models endpoints"
    - permit:
        paths: regex:^/v1/(chat|inference)/.*$
      when: user with developer in roles
      description: "Developers can access inference endpoints"
    - forbid:
        paths: "*"
      description: "Deny all other routes by default"
""",
}
R5 = """
    provider_config:
      type: "oauth2_token"
    # Route-level: Controls which API routes are accessible
    route_policy:
    - permit:
        paths: "/v1/chat/completions"
      when: user with developer in roles
    # Resource-level: Controls which specific resources are accessible
    access_policy:
    - permit:
        actions: [read]
        resource: model::llama-3-2-3b
      when: user with developer in roles
"""
