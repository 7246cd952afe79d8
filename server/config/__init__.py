"""The configuration: `config.yaml`, validated completely before anything starts."""

from server.config.auth import AuthConfig, JwksConfig, OAuth2Config
from server.config.load import load_config, read_config
from server.config.models import ModelConfig
from server.config.opa import OpaConfig
from server.config.providers import ProviderConfig
from server.config.root import Config
from server.config.server import CorsConfig, ServerConfig

__all__ = [
    "AuthConfig",
    "Config",
    "CorsConfig",
    "JwksConfig",
    "ModelConfig",
    "OAuth2Config",
    "OpaConfig",
    "ProviderConfig",
    "ServerConfig",
    "load_config",
    "read_config",
]
