"""`--check` of a configuration with Bedrock where botocore is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WITHOUT = "import sys; sys.modules['botocore'] = None; from server.cli.main import main; main()"
CONFIG = """\
version: 2
apis: [inference]
providers:
  inference:
  - {provider_id: aws, provider_type: remote::bedrock, config: {region: us-east-1}}
"""


def test_a_check_names_the_missing_extra(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG)
    environ = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, "run", str(file), "--check"], capture_output=True, text=True, env=environ
    )
    assert done.returncode == 2, done.stderr
    assert f"{file}:5:56: " in done.stderr
    assert "the extra `bedrock`, which is not installed" in done.stderr
