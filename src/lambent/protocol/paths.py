"""The URI templates of one REST service as a tree, and the operation that a request's path and method mean.

Where several operations share method and path (S3 has four at `PUT /{Bucket}/{Key+}`), the one that asks for most of
what the request has wins: constants of its query string, then required query parameters and headers.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_plus

from lambent.protocol.http import HttpRequest
from lambent.protocol.models import Operation, ServiceModel

# Some clients say in the query string which operation they mean; nothing else depends on it.
_NOT_ASKED: Final = "x-id"
# Clients ask for the same few paths again and again. Beyond so many, remembering them begins afresh.
_MOST_KNOWN: Final = 4096
_LONGEST_KNOWN: Final = 256


@dataclass(slots=True)
class _Candidate:
    operation: str
    labels: tuple[str, ...]
    constants: tuple[tuple[str, str | None], ...]
    query: frozenset[str]
    headers: frozenset[str]

    def fits(self, query: dict[str, str], request: HttpRequest) -> bool:
        return (
            all(key in query and value in (None, query[key]) for key, value in self.constants)
            and self.query <= query.keys()
            and all(header in request.headers for header in self.headers)
        )


@dataclass(slots=True)
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    label: "_Node | None" = None
    greedy: "_Node | None" = None
    ends: dict[str, list[_Candidate]] = field(default_factory=dict)


class Paths:
    """All operations of one service by their paths."""

    def __init__(self, model: ServiceModel) -> None:
        self._root = _Node()
        self._known: dict[tuple[str, str], tuple[str, dict[str, str]]] = {}  # by method and path, where they decide
        # Of two names for one path, the one that is not deprecated.
        for operation in sorted(model.operations.values(), key=lambda one: one.deprecated):
            self._add(model, operation)
        for candidates in _all_ends(self._root):
            candidates.sort(key=_rank)
            _ask_nothing_of_the_last(candidates)

    def match(self, request: HttpRequest) -> tuple[str, dict[str, str]] | None:
        """The operation and the raw values of its labels; None when no operation is there."""
        known = self._known.get((request.method, request.path))
        if known is not None:
            return known
        segments = request.path[1:].split("/")
        found = self._find(request, segments)
        if found is None and segments[-1] == "":
            found = self._find(request, segments[:-1])
        return found

    def _find(self, request: HttpRequest, segments: list[str]) -> tuple[str, dict[str, str]] | None:
        query: dict[str, str] | None = None
        for node, values in _ends(self._root, segments, 0, ()):
            for candidate in node.ends.get(request.method, ()):
                is_bound = candidate.constants or candidate.query or candidate.headers
                if is_bound and query is None:
                    query = _query(request.query)
                if is_bound and not candidate.fits(query or {}, request):
                    continue
                found = candidate.operation, dict(zip(candidate.labels, values, strict=True))
                if query is None:
                    self._remember(request, found)
                return found
        return None

    def _remember(self, request: HttpRequest, found: tuple[str, dict[str, str]]) -> None:
        if len(request.path) > _LONGEST_KNOWN:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known[request.method, request.path] = found

    def _add(self, model: ServiceModel, operation: Operation) -> None:
        path, _, query = operation.http.request_uri.partition("?")
        node, labels = self._root, []
        for segment in path.strip("/").split("/") if path.strip("/") else ():
            if not segment.startswith("{"):
                node = node.literals.setdefault(segment, _Node())
                continue
            labels.append(segment.strip("{+}"))
            if segment.endswith("+}"):
                node.greedy = node.greedy or _Node()
                node = node.greedy
            else:
                node.label = node.label or _Node()
                node = node.label
        required_query, required_headers = _required(model, operation)
        node.ends.setdefault(operation.http.method, []).append(
            _Candidate(operation.name, tuple(labels), _constants(query), required_query, required_headers)
        )


def _ends(
    node: _Node, segments: list[str], index: int, values: tuple[str, ...]
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    """Where these segments lead, literal parts before labels. The depth is the tree's, not the path's."""
    if index == len(segments):
        yield node, values
        return
    segment = segments[index]
    if (below := node.literals.get(segment)) is not None:
        yield from _ends(below, segments, index + 1, values)
    if node.label is not None and segment:
        yield from _ends(node.label, segments, index + 1, (*values, segment))
    if node.greedy is not None:
        yield from _greedy_ends(node.greedy, segments, index, values)


def _greedy_ends(
    node: _Node, segments: list[str], index: int, values: tuple[str, ...]
) -> Iterator[tuple[_Node, tuple[str, ...]]]:
    rest = "/".join(segments[index:])
    if node.ends and rest:
        yield node, (*values, rest)
    if node.literals:  # something follows the greedy label, as in /{name+}/policy
        for end in range(len(segments) - 1, index, -1):
            if segments[end] in node.literals:
                yield from _ends(node, segments, end, (*values, "/".join(segments[index:end])))


def _all_ends(node: _Node) -> Iterator[list[_Candidate]]:
    yield from node.ends.values()
    for below in (*node.literals.values(), node.label, node.greedy):
        if below is not None:
            yield from _all_ends(below)


def _rank(candidate: _Candidate) -> tuple[int, list[tuple[str, str]], int]:
    constants = [(key, value or "") for key, value in candidate.constants]
    return -len(constants), constants, -len(candidate.query) - len(candidate.headers)


def _ask_nothing_of_the_last(candidates: list[_Candidate]) -> None:
    """Requirements only tell operations apart. Where one is missing and nothing else fits, validation says so."""
    for candidate, following in zip(candidates, [*candidates[1:], None], strict=True):
        if following is None or following.constants != candidate.constants:
            candidate.query = candidate.headers = frozenset()


def _constants(query: str) -> tuple[tuple[str, str | None], ...]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return tuple((key, value if equals else None) for key, equals, value in pairs if key != _NOT_ASKED)


def _required(model: ServiceModel, operation: Operation) -> tuple[frozenset[str], frozenset[str]]:
    """The query parameters and headers without which it is not this operation."""
    shape = model.input(operation.name)
    if shape is None:
        return frozenset(), frozenset()
    query, headers = set(), set()
    for name, member in model.members(shape).items():
        if name in shape.required and member.location == "querystring":
            query.add(member.wire_name or name)
        elif name in shape.required and member.location == "header":
            headers.add((member.wire_name or name).lower())
    return frozenset(query), frozenset(headers)


def _query(query: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in query.split("&") if part)
    return {unquote_plus(key): unquote_plus(value) for key, _, value in pairs}
