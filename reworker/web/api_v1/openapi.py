"""The document that describes the API (OpenAPI 3.1), made from the operations themselves."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from functools import cache
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from reworker import __version__
from reworker.web.errors import PROBLEM_TYPE
from reworker.web.operations import JSON_TYPE, NoQuery, Operation
from reworker.web.routes import GuardedRoute
from reworker.web.uploads import FORM_TYPE

#: statuses that any operation may answer with, and those of an operation with a body.
ALWAYS, WITH_BODY = (401, 403, 421, 422, 500, 503), (400, 408, 413, 415)
KEY_HEADER = "Idempotency-Key"
_REF = "#/components/schemas/{name}"
_PART = re.compile(r"{(\w+)}")
_ARGUMENT = re.compile(r"^(\w+): (.*)$")
_ABOUT = """\
Everything that people and programs can ask of reworker. A token is sent as `Authorization: Bearer rw_...`.
What is wrong is said in problem documents (RFC 9457), whose `type` ends in a short name.
"""


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a request (RFC 9457).

    Args:
        type: ends in the short name of the problem, which docs/api.md explains.
        title: of the status.
        status: of HTTP.
        detail: what is wrong and what to do.
        instance: path of the request.
    """

    type: str
    title: str
    status: int
    detail: str
    instance: str


def document_route(operations: Iterable[Operation]) -> GuardedRoute:
    """Return the route of the document, which says nothing that needs a token."""
    listed = tuple(operations)

    @cache
    def body() -> bytes:
        return msgspec.json.encode(document(listed))

    async def endpoint(request: Request) -> Response:
        return Response(body(), media_type=JSON_TYPE)

    return GuardedRoute("/openapi.json", endpoint, needs={"GET": None})


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """Return the document that describes these operations."""
    listed = list(operations)
    kinds = [
        Problem,
        *(one for each in listed for one in (each.body, each.form, each.answer) if one is not None),
    ]
    structs = [one for one in dict.fromkeys(kinds) if inspect.isclass(one)]
    _, components = msgspec.json.schema_components(structs, ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for one in listed:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    whole = {
        "openapi": "3.1.0",
        "info": {"title": "reworker", "version": __version__, "description": _ABOUT},
        "servers": [{"url": "/api/v1"}],
        "security": [{"bearer": []}],
        "tags": [{"name": name} for name in dict.fromkeys(one.tag for one in listed)],
        "paths": paths,
        "components": {
            "schemas": {name: described(schema, name) for name, schema in sorted(components.items())},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(whole))
    return found


def _operation(one: Operation) -> dict[str, Any]:
    scopes = " or ".join(f"`{scope}`" for scope in (one.scope, *one.also))
    words = f"{one.description}\n\nNeeds the scope {scopes}.".strip()
    found: dict[str, Any] = {
        "operationId": operation_id(one),
        "summary": one.summary,
        "description": words,
        "tags": [one.tag],
        "parameters": [*_path_parameters(one), *_query_parameters(one.query), *_header_parameters(one)],
        "responses": _responses(one),
    }
    if one.body is not None:
        schema = {"$ref": _REF.format(name=one.body.__name__)}
        found["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": schema}}}
    if one.form is not None:
        found["requestBody"] = {"required": True, "content": _file_content(one, one.form)}
    return found


def _file_content(one: Operation, form: type[msgspec.Struct]) -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    parts = {"data": {"$ref": _REF.format(name=form.__name__)}, "file": file}
    whole = {"type": "object", "properties": parts, "required": ["data"]}
    return {one.file_type: {"schema": file}, FORM_TYPE: {"schema": whole}}


def operation_id(one: Operation) -> str:
    """Return a name for an operation, such as ``post_deployments_deployment_id_cancel``."""
    return re.sub(r"\W+", "_", f"{one.method.lower()}{one.path}").strip("_")


def _path_parameters(one: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "pattern": "^[^/]+$"},
        }
        for name in _PART.findall(one.path)
    ]


def _query_parameters(kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    if kind is NoQuery:
        return []
    _, components = msgspec.json.schema_components([kind], ref_template=_REF)
    schema = described(components.pop(kind.__name__), kind.__name__, kind)
    required = schema.get("required", ())
    found = []
    for name, one in schema["properties"].items():
        words = one.pop("description", "")
        parameter = {"name": name, "in": "query", "required": name in required}
        parameter["schema"] = _given(_inlined(one, components))
        found.append({**parameter, "description": words} if words else parameter)
    return found


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter that is there: what stands for one that is not is left out."""
    kinds = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    return dict(kinds[0]) if len(kinds) == 1 else schema


def _inlined(schema: dict[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema without references, so that the parameters need no part of the components."""
    if "$ref" in schema:
        target = components[schema["$ref"].rpartition("/")[2]]
        others = {name: value for name, value in schema.items() if name != "$ref"}
        return {**{name: value for name, value in target.items() if name != "description"}, **others}
    return {
        name: _inlined(value, components) if isinstance(value, dict) and name != "default" else value
        for name, value in schema.items()
    }


def _header_parameters(one: Operation) -> list[dict[str, Any]]:
    if not one.has_key:
        return []
    words = "The same key and request again start nothing anew; another request is answered with 409."
    schema = {"type": "string", "maxLength": 255}
    return [{"name": KEY_HEADER, "in": "header", "required": False, "schema": schema, "description": words}]


def _responses(one: Operation) -> dict[str, Any]:
    statuses = {*ALWAYS, *one.errors, *(WITH_BODY if one.body or one.form else ())}
    problem = {"content": {PROBLEM_TYPE: {"schema": {"$ref": _REF.format(name="Problem")}}}}
    found: dict[str, Any] = {str(one.status): _good(one)}
    for status in sorted(statuses):
        found[str(status)] = {"description": HTTPStatus(status).phrase, **problem}
    return found


def _good(one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {"description": HTTPStatus(one.status).phrase}
    if one.media_type != JSON_TYPE:
        return {**found, "content": {one.media_type: {"schema": {"type": "string"}}}}
    if one.answer is None:
        return found
    (schema,), _ = msgspec.json.schema_components([one.answer], ref_template=_REF)
    return {**found, "content": {JSON_TYPE: {"schema": schema}}}


def described(schema: dict[str, Any], name: str, kind: type | None = None) -> dict[str, Any]:
    """Return a schema with the words of its type's docstring beside each field, where clients show them."""
    words = inspect.cleandoc(schema.get("description", ""))
    about, _, arguments = words.partition("\n\nArgs:\n")
    found = {**schema, "title": name}
    if about:
        found["description"] = about
    said = _arguments(inspect.cleandoc(arguments)) if arguments else {}
    properties = {}
    for field, one in schema.get("properties", {}).items():
        own = said.get(field) or said.get(f"{field}_")
        properties[field] = {"description": f"{own[0].upper()}{own[1:]}", **one} if own else dict(one)
    return {**found, "properties": properties} if properties else found


def _arguments(text: str) -> dict[str, str]:
    """Return the words about each argument of a docstring; they may go on in the next line."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        begun = _ARGUMENT.match(line)
        if begun:
            name = begun[1]
            found[name] = begun[2]
        elif name and line.strip():
            found[name] = f"{found[name]} {line.strip()}"
    return found
