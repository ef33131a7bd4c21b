"""Reads requests strictly: a name that is not declared, or is given twice, is refused."""

from collections.abc import Iterable, Sequence
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl

from fastapi import Request
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from web.bodies import once_each, parse_body
from web.problems import UNSUPPORTED_MEDIA_TYPE, InvalidParameter, RequestProblem, first_refusal

PARAMETERS_MAX = 20

Body = TypeVar("Body", bound=BaseModel)


class StrictRoute(APIRoute):
    """A route that knows the names of the query parameters that it declares, and its body's model."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.query_names = frozenset(field.alias for field in self.dependant.query_params)
        calls = [dependency.call for dependency in self.dependant.dependencies]
        self.body_model: type[BaseModel] | None = next(
            (call.model for call in calls if isinstance(call, JsonBody)), None
        )


async def strict_query(request: Request) -> None:
    """Refuse a query with a name that the route does not declare, or that is given twice.

    A dependency; declare it after the one that checks the key. Raises `InvalidParameter`.
    """
    parse_query(request.scope["query_string"], request.scope["route"].query_names)


def parse_query(query: bytes, known: Iterable[str]) -> dict[str, str]:
    """Return the parameters of a query, form-decoded once; raises `InvalidParameter`."""
    try:
        pairs = parse_qsl(query.decode("ascii"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX)
    except UnicodeDecodeError:
        raise InvalidParameter("query", "must be percent-encoded UTF-8") from None
    except ValueError:
        raise InvalidParameter("query", f"must have at most {PARAMETERS_MAX} parameters") from None
    values = once_each(pairs)
    refuse_unknown(values, known, "; encode & in a value as %26")
    return values


class JsonBody(Generic[Body]):
    """A dependency that reads a body as a model. Raises what `parse_body` does, and `InvalidParameter`."""

    def __init__(self, model: type[Body]) -> None:
        self.model = model

    async def __call__(self, request: Request) -> Body:
        """Return the body."""
        if request.headers.get("content-encoding", "identity") != "identity":
            raise RequestProblem(UNSUPPORTED_MEDIA_TYPE, "Send the body without a Content-Encoding.")
        values = parse_body(await request.body(), request.headers.get("content-type", ""))
        refuse_unknown(values, self.model.model_fields, "")
        try:
            return self.model.model_validate(values)
        except ValidationError as error:
            raise first_refusal(error.errors(), name_at=0) from None


def refuse_unknown(given: Iterable[str], known: Iterable[str], advice: str) -> None:
    """Raise `InvalidParameter` for an unknown name.

    Its text suggests the most similar known name; without one, it lists the known ones and gives the advice.
    """
    known = list(known)
    for name in given:
        if name not in known:
            raise InvalidParameter(name, f"is not known here; {_hint(name, known, advice)}")


def _hint(name: str, known: Sequence[str], advice: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - rarely needed; keeps cold starts short

    if not known:
        return "this query has no parameters"
    nearest = get_close_matches(name.lower(), known, n=1)
    return f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(sorted(known))}{advice}"
