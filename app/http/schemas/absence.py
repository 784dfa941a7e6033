"""Null for an optional field is the same as leaving the field out: many clients send every field that they know."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class NullIsAbsence(BaseModel):
    """Base of all requests. Fields that are required take null only where their type says so."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        fields = cls.model_fields
        return {
            name: value
            for name, value in data.items()
            if value is not None or name not in fields or fields[name].is_required()
        }

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler(core_schema)
        own = handler.resolve_ref_schema(schema)
        properties = own.get("properties", {})
        for name in properties.keys() - set(own.get("required", ())):
            properties[name] = _or_null(properties[name])
        return schema


_OUTSIDE = ("title", "description", "default", "examples")


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    if any(choice.get("type") == "null" for choice in schema.get("anyOf", ())) or schema.get("type") == "null":
        return schema
    outside = {name: schema[name] for name in _OUTSIDE if name in schema}
    inside = {name: value for name, value in schema.items() if name not in outside}
    return {"anyOf": [inside, {"type": "null"}], **outside}
