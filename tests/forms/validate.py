"""Holds JSON documents against a schema: validate.py [--strict] SCHEMA FILE...

With --strict what the schema does not name is a fault too, wherever it names anything: so a
document cannot say more than its schema tells.
"""

import json
import sys

import jsonschema


def shut(schema):
    if isinstance(schema, dict):
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            shut(part)
    elif isinstance(schema, list):
        for part in schema:
            shut(part)


words = sys.argv[1:]
strict = words[0] == "--strict"
if strict:
    words = words[1:]
with open(words[0], encoding="utf-8") as file:
    schema = json.load(file)
if strict:
    shut(schema)
kind = jsonschema.validators.validator_for(schema)
kind.check_schema(schema)
validator = kind(schema)
faults = 0
for name in words[1:]:
    with open(name, encoding="utf-8") as file:
        document = json.load(file)
    for error in list(validator.iter_errors(document))[:5]:
        faults += 1
        print(f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message[:300]}")
    print(f"held {name}")
sys.exit(1 if faults else 0)
