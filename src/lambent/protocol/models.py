"""The AWS service models, read from botocore's data files, one service at a time and on first use.

botocore itself is never imported: its import takes longer than this node takes to start, and of a model we keep only
what the wire and the constraints need (no documentation), which is a fraction of the memory.
"""

import gzip
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec

JSON: Final = "json"
REST_JSON: Final = "rest-json"
REST_XML: Final = "rest-xml"
QUERY: Final = "query"
CBOR: Final = "smithy-rpc-v2-cbor"

# SQS answers the query protocol too, on every operation, though its model names json alone.
# Source: Amazon SQS Developer Guide, "AWS JSON protocol": both stay supported.
_ALSO_QUERY: Final = frozenset(["sqs"])

_ONE_WORD: Final = frozenset(
    ["eventstream", "eventpayload", "eventheader", "jsonvalue", "httpchecksum", "requestcompression"]
)


def _as_in_the_model(name: str) -> str:
    """`location_name` is `locationName` there, and `event_payload` is `eventpayload`."""
    words = name.split("_")
    joined = "".join(words)
    return joined if joined in _ONE_WORD else words[0] + "".join(word.title() for word in words[1:])


class Error(msgspec.Struct, rename=_as_in_the_model):
    """What a model says of an exception: its code on the wire, if it is not the shape's name, and its status."""

    code: str | None = None
    http_status_code: int | None = None
    sender_fault: bool | None = None


class Reference(msgspec.Struct, rename=_as_in_the_model, omit_defaults=True):
    """A mention of a shape, with the traits that hold for this mention only."""

    shape: str
    location: str | None = None
    location_name: str | None = None
    timestamp_format: str | None = None
    xml_namespace: str | dict[str, str] | None = None
    xml_attribute: bool = False
    flattened: bool = False
    streaming: bool = False
    jsonvalue: bool = False
    event_payload: bool = False
    event_header: bool = False
    host_label: bool = False


class Shape(msgspec.Struct, rename=_as_in_the_model):
    """A type of a model. Members, list items, map keys and values are references: `ServiceModel` resolves them."""

    type: str
    name: str = ""
    members: dict[str, Reference] = {}
    member: Reference | None = None
    key: Reference | None = None
    value: Reference | None = None
    required: list[str] = []
    min: float | None = None
    max: float | None = None
    pattern: str | None = None
    enum: list[str] = []
    payload: str | None = None
    location: str | None = None
    location_name: str | None = None
    timestamp_format: str | None = None
    xml_namespace: str | dict[str, str] | None = None
    result_wrapper: str | None = None
    xml_attribute: bool = False
    flattened: bool = False
    streaming: bool = False
    jsonvalue: bool = False
    eventstream: bool = False
    event: bool = False
    event_payload: bool = False
    event_header: bool = False
    host_label: bool = False
    document: bool = False
    union: bool = False
    sensitive: bool = False
    sparse: bool = False
    exception: bool = False
    fault: bool = False
    error: Error | None = None

    @property
    def wire_name(self) -> str | None:
        """The name on the wire where the model gives one."""
        return self.location_name


class Http(msgspec.Struct, rename=_as_in_the_model):
    """Method, URI template and status of success."""

    method: str = "POST"
    request_uri: str = "/"
    response_code: int | None = None


class Endpoint(msgspec.Struct, rename=_as_in_the_model):
    """The prefix that clients put before the host."""

    host_prefix: str | None = None


class Operation(msgspec.Struct, rename=_as_in_the_model):
    """One operation; `input` and `output` are absent where it takes or gives nothing."""

    name: str
    http: Http = msgspec.field(default_factory=Http)
    input: Reference | None = None
    output: Reference | None = None
    errors: list[Reference] = []
    endpoint: Endpoint | None = None
    deprecated: bool = False
    requestcompression: dict[str, Any] | None = None


class Metadata(msgspec.Struct, rename=_as_in_the_model):
    """What holds for a whole service."""

    api_version: str
    protocol: str
    endpoint_prefix: str = ""
    protocols: list[str] = []
    json_version: str = "1.0"
    target_prefix: str | None = None
    signing_name: str | None = None
    xml_namespace: str | dict[str, str] | None = None
    service_id: str = ""
    aws_query_compatible: dict[str, Any] | None = None


class _Description(msgspec.Struct):
    metadata: Metadata
    operations: dict[str, Operation]
    shapes: dict[str, Shape]


_TRAITS: Final = tuple(field for field in Reference.__struct_fields__ if field != "shape")
_PLAIN: Final = dict(zip(_TRAITS, Reference.__struct_defaults__, strict=True))


class ServiceModel:
    """One service's operations and shapes. `name` is botocore's (`lambda`, `stepfunctions`)."""

    def __init__(self, name: str, description: _Description) -> None:
        self.name = name
        self.metadata = description.metadata
        self.operations = description.operations
        self._shapes = description.shapes
        for shape_name, shape in self._shapes.items():
            shape.name = shape_name
        self._members: dict[str, dict[str, Shape]] = {}
        self._errors: dict[str, Shape] | None = None

    @classmethod
    def from_json(cls, name: str, text: bytes) -> "ServiceModel":
        """A model from its JSON text, such as a protocol test brings."""
        return cls(name, _DECODER.decode(text))

    def with_shapes(self, shapes: dict[str, Shape], xml_namespace: str | None = None) -> "ServiceModel":
        """The same operations over other shapes; in another namespace if one is given."""
        metadata = msgspec.structs.replace(self.metadata, xml_namespace=xml_namespace or self.metadata.xml_namespace)
        return ServiceModel(self.name, _Description(metadata, self.operations, shapes))

    @property
    def protocols(self) -> frozenset[str]:
        """Every protocol in which the service may be asked."""
        also = (QUERY,) if self.name in _ALSO_QUERY else ()
        return frozenset([self.metadata.protocol, *self.metadata.protocols, *also])

    @property
    def is_query_compatible(self) -> bool:
        """It was a query service once: errors keep their old codes in a header."""
        return self.metadata.aws_query_compatible is not None

    def resolve(self, reference: Reference) -> Shape:
        """The shape, with the traits of this mention. The name on the wire is the mention's alone."""
        shape = self._shapes[reference.shape]
        own = {trait: value for trait in _TRAITS if (value := getattr(reference, trait)) != _PLAIN[trait]}
        if shape.location_name is not None:
            own.setdefault("location_name", None)
        return msgspec.structs.replace(shape, **own) if own else shape

    def root_name(self, shape: Shape) -> str:
        """What the shape is called as the root of a document."""
        return shape.location_name or self._shapes[shape.name].location_name or shape.name

    def shape(self, name: str) -> Shape:
        """The shape of this name. Raises KeyError."""
        return self._shapes[name]

    def shape_names(self) -> list[str]:
        return list(self._shapes)

    def members(self, shape: Shape) -> dict[str, Shape]:
        """A structure's members, in the model's order."""
        known = self._members.get(shape.name)
        if known is None:
            known = {name: self.resolve(reference) for name, reference in shape.members.items()}
            self._members[shape.name] = known
        return known

    def item(self, shape: Shape) -> Shape:
        """What a list holds."""
        assert shape.member is not None
        return self.resolve(shape.member)

    def key_and_value(self, shape: Shape) -> tuple[Shape, Shape]:
        """What a map holds."""
        assert shape.key is not None
        assert shape.value is not None
        return self.resolve(shape.key), self.resolve(shape.value)

    def input(self, operation: str) -> Shape | None:
        reference = self.operations[operation].input
        return self.resolve(reference) if reference else None

    def output(self, operation: str) -> Shape | None:
        reference = self.operations[operation].output
        return self.resolve(reference) if reference else None

    def error(self, code: str) -> Shape | None:
        """The exception of this name or wire code; None where the model has none."""
        if self._errors is None:
            shapes = [shape for shape in self._shapes.values() if shape.exception]
            codes = {shape.error.code: shape for shape in shapes if shape.error and shape.error.code}
            self._errors = codes | {shape.name: shape for shape in shapes}
        return self._errors.get(code)


_DECODER: Final = msgspec.json.Decoder(_Description)


@cache
def _data() -> Path:
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("botocore, whose service models this needs, is not installed")
    return Path(spec.submodule_search_locations[0]) / "data"


@cache
def _names() -> frozenset[str]:
    return frozenset(folder.name for folder in _data().iterdir() if _newest(folder) is not None)


def _newest(folder: Path) -> Path | None:
    files = [*folder.glob("*/service-2.json.gz"), *folder.glob("*/service-2.json")]
    return max(files, default=None)


def service_names() -> list[str]:
    """Every service that botocore knows, sorted."""
    return sorted(_names())


@cache
def service(name: str) -> ServiceModel:
    """The newest model of a service. Raises KeyError when botocore has none of this name."""
    file = _newest(_data() / name) if name.replace("-", "").isalnum() else None
    if file is None:
        raise KeyError(name)
    text = file.read_bytes()
    text = gzip.decompress(text) if file.suffix == ".gz" else text
    extras = sorted(file.parent.glob("service-2.*-extras.json"))
    if not extras:
        return ServiceModel.from_json(name, text)
    description = msgspec.json.decode(text)
    for extra in extras:
        _merge(description, msgspec.json.decode(extra.read_bytes()).get("merge", {}))
    return ServiceModel.from_json(name, msgspec.json.encode(description))


def _merge(into: dict[str, Any], extra: dict[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def operation_names(name: str) -> list[str]:
    """A service's operations, sorted. Raises KeyError when botocore has no such service."""
    return sorted(service(name).operations)
