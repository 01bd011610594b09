"""JSON Schema of the configuration, for editors and validators."""

from __future__ import annotations

import json

from ct_vae.config.run import RunConfig


def schema_text() -> str:
    """Return the text of ``configs/schema.json``."""
    schema = RunConfig.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"
