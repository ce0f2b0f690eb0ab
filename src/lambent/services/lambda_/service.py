"""The service `lambda`: what it needs, and its operations."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from lambent.aws.caller import Caller, Scope
from lambent.aws.errors import ApiError
from lambent.clock import Clock
from lambent.config import Config, shared_folders
from lambent.dispatch import Call, Handler, Shape
from lambent.engine.admission import Allotment
from lambent.engine.metrics import FunctionMetrics
from lambent.engine.provisioned import Key, Plan, Progress
from lambent.engine.runtimes import Runtime
from lambent.engine.spec import FunctionSpec, Invocation, InvocationResult
from lambent.observe.log import Log
from lambent.protocol.http import HttpRequest, HttpResponse, UrlTarget
from lambent.services.lambda_ import rows, url_requests
from lambent.services.lambda_.api import (
    aliases,
    code_location,
    concurrency,
    event_invoke,
    event_source_mappings,
    functions,
    invoke,
    layer_policies,
    layers,
    permissions,
    provisioned,
    recursion,
    runtime_management,
    settings,
    tags,
    updates,
    urls,
    versions,
)
from lambent.services.lambda_.asynchronous import Asynchronous
from lambent.services.lambda_.catalogue import Catalogue
from lambent.services.lambda_.identities import Identities
from lambent.services.lambda_.layers import rows as layer_rows
from lambent.services.lambda_.layers.catalogue import LayerCatalogue
from lambent.services.lambda_.mappings import rows as mapping_rows
from lambent.services.lambda_.mappings.catalogue import Mappings
from lambent.services.lambda_.mappings.pollers import new_poller
from lambent.services.lambda_.mappings.worker import MappingWorker
from lambent.services.lambda_.model import FunctionVersion, check_may_run
from lambent.services.lambda_.packages import Packages
from lambent.services.lambda_.provisioned_worker import ProvisionedWorker
from lambent.services.lambda_.sealed import CANNOT_DECRYPT, CannotOpenError, OpenedWhenRead, Seal
from lambent.services.lambda_.tracing import Sampler
from lambent.services.lambda_.worker import Worker
from lambent.store.blobs import DamagedBlobError
from lambent.store.database import Database


class Engine(Protocol):
    """What runs functions: `engine.invoke.Engine`."""

    async def invoke(self, spec: FunctionSpec, invocation: Invocation) -> InvocationResult:
        """Runs a function once."""

    async def take_snapshot(self, spec: FunctionSpec) -> None:
        """Runs a version's Init, for its environments to be restored from."""

    def start(self, spec: FunctionSpec, invocation: Invocation) -> "asyncio.Future[InvocationResult]":
        """The same without waiting."""

    async def retire(self, arn: str, *, keep_digests: frozenset[str] = frozenset()) -> None:
        """Lets go of a function's other environments."""

    async def expect(self, spec: FunctionSpec) -> None:
        """Knows of a function that may be invoked soon."""

    def allot(self, scope: Scope, arn: str, allotment: Allotment | None) -> None:
        """What a function reserves and has provisioned."""

    def provision(self, arn: str, plans: Sequence[Plan]) -> None:
        """Keeps these environments of a function."""

    def progress(self, key: Key) -> Progress | None:
        """How far that is."""


class EventQueue(Protocol):
    """What keeps asynchronous invocations until they ran: `engine.event_queue.EventQueue`."""

    async def put(
        self,
        scope: Scope,
        function_arn: str,
        qualifier: str | None,
        payload: bytes,
        *,
        request_id: str,
        trace_header: str | None = None,
    ) -> None:
        """Returns once the event is committed."""


@dataclass(slots=True, kw_only=True, eq=False)
class Lambda:
    """`load` comes before the first request; while `run` runs, functions become Active and old code goes.

    `folder` is the service's own: packages that no function uses are deleted from it. `find_runtime` is
    `Interpreters.resolve`. `call` is `Dispatch.call`, the way to other services. `secret` is the installation's: what
    it signs and encrypts is this platform's own. `sample` decides between an alias's versions.
    `identities` knows who signed a request to a function URL.
    """

    database: Database
    folder: Path
    engine: Engine
    event_queue: EventQueue
    find_runtime: Callable[[str], Awaitable[Runtime]]
    call: Call
    metrics: FunctionMetrics
    clock: Clock
    config: Config
    secret: bytes
    log: Log
    sample: Callable[[], float] = random.random
    identities: Identities = field(default_factory=Identities)

    packages: Packages = field(init=False)
    seal: Seal = field(init=False)
    catalogue: Catalogue = field(init=False)
    layers: LayerCatalogue = field(init=False)
    worker: Worker = field(init=False)
    sampler: Sampler = field(init=False)
    provisioned: ProvisionedWorker = field(init=False)
    mappings: Mappings = field(init=False)
    mapping_worker: MappingWorker = field(init=False)
    asynchronous: Asynchronous = field(init=False)
    """What the event queue asks about functions."""

    def __post_init__(self) -> None:
        self.packages = Packages(self.folder, self.clock)
        self.seal = Seal(self.secret)
        self.catalogue = Catalogue(self.packages.folder, self.seal, lambda key: self.provisioned.changed(key))
        self.provisioned = ProvisionedWorker(
            catalogue=self.catalogue, keeper=self.engine, ready_spec=self.ready_spec, clock=self.clock
        )
        self.layers = LayerCatalogue()
        self.mappings = Mappings(lambda uuid: self.mapping_worker.changed(uuid))
        self.mapping_worker = MappingWorker(
            database=self.database,
            mappings=self.mappings,
            new_poller=partial(new_poller, self),
            pending_s=self.config.pending_s,
            stop_grace_s=self.config.stop_grace_s,
            clock=self.clock,
            log=self.log,
        )
        self.asynchronous = Asynchronous(self)
        self.sampler = Sampler(self.sample)
        self.worker = Worker(
            database=self.database,
            packages=self.packages,
            catalogue=self.catalogue,
            layers=self.layers,
            retire=self.engine.retire,
            expect=self.engine.expect,
            take_snapshot=self.take_snapshot,
            find_runtime=self.find_runtime,
            file_systems=shared_folders(self.config),
            pending_s=self.config.pending_s,
            clock=self.clock,
            log=self.log,
        )

    async def load(self) -> None:
        """Reads all functions, layers and mappings from the store."""
        self.catalogue.put(*await self.database.read(rows.everything))
        self.layers.put(*await self.database.read(layer_rows.everything))
        self.mappings.put(*await self.database.read(mapping_rows.everything))

    async def run(self) -> None:
        """Background work, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.worker.run(), name="lambda.worker")
            tasks.create_task(self.provisioned.run(), name="lambda.provisioned")
            tasks.create_task(self.mapping_worker.run(), name="lambda.mappings")

    def operations(self) -> dict[str, Handler]:
        """The operations that exist, by name."""
        return {name: partial(operation, self) for name, operation in _OPERATIONS.items()}

    async def code_page(self, path: str, query: str) -> tuple[int, list[tuple[str, str]], bytes]:
        """GET /_lambent/code/…: status, headers and the package that a Code.Location is the address of."""
        return await code_location.page(self, path, query)

    async def url_page(self, target: UrlTarget, request: HttpRequest, request_id: str) -> HttpResponse:
        """The answer to a request for a function URL."""
        return await url_requests.page(self, target, request, request_id)

    def spec_if_ready(self, version: FunctionVersion) -> FunctionSpec | None:
        """The same, if nothing is to be waited for, as is usual. Raises ResourceConflictException as `ready_spec`."""
        check_may_run(version)
        spec = self.catalogue.get(version.key).specs[version.version]
        variables = spec.environment
        is_open = type(variables) is not OpenedWhenRead or variables.is_open
        return spec if is_open and self.packages.are_ready(spec.packages) else None

    async def ready_spec(self, version: FunctionVersion) -> FunctionSpec:
        """What the engine needs to run a version, with its code and layers unpacked and its variables opened.

        Touches no disk when that is done.

        Raises:
            ApiError: ResourceConflictException, when the version cannot run; ServiceException, when its code cannot
                be unpacked: the disk is full, or the package was lost. Who can wait tries again.
                KMSAccessDeniedException, when its variables were sealed by another installation.
        """
        check_may_run(version)
        return await self._open_spec(version)

    async def take_snapshot(self, version: FunctionVersion) -> None:
        """Runs a version's Init before it is Active, for SnapStart.

        Raises:
            SnapshotFailedError: it could not be initialised; the text is its StateReason.
            ApiError: as `ready_spec`.
        """
        await self.engine.take_snapshot(await self._open_spec(version))

    async def _open_spec(self, version: FunctionVersion) -> FunctionSpec:
        spec = self.catalogue.get(version.key).specs[version.version]
        for digest in spec.packages:
            if not self.packages.is_ready(digest):
                await self._unpack(version, digest)
        variables = spec.environment
        if type(variables) is OpenedWhenRead and not variables.is_open:
            await self._open(variables)
        return spec

    async def _unpack(self, version: FunctionVersion, digest: str) -> None:
        try:
            await self.packages.ensure(digest)
        except (OSError, DamagedBlobError) as error:
            self.log.error("lambda.package_unavailable", function=version.key.arn(version.version))
            raise ApiError("ServiceException", f"The function's code could not be unpacked: {error}") from error

    async def _open(self, variables: OpenedWhenRead) -> None:
        """In a thread, for the first one of a node loads the library."""
        try:
            await asyncio.to_thread(variables.open)
        except CannotOpenError as error:
            raise ApiError("KMSAccessDeniedException", f"{CANNOT_DECRYPT} {error}") from error


Operation = Callable[[Lambda, Caller, Shape], Awaitable[Shape]]

_OPERATIONS: Final[dict[str, Operation]] = {
    "AddLayerVersionPermission": layer_policies.add_layer_version_permission,
    "AddPermission": permissions.add_permission,
    "CreateAlias": aliases.create_alias,
    "CreateEventSourceMapping": event_source_mappings.create_event_source_mapping,
    "CreateFunction": functions.create_function,
    "CreateFunctionUrlConfig": urls.create_function_url_config,
    "DeleteAlias": aliases.delete_alias,
    "DeleteEventSourceMapping": event_source_mappings.delete_event_source_mapping,
    "DeleteFunction": functions.delete_function,
    "DeleteFunctionConcurrency": concurrency.delete_function_concurrency,
    "DeleteFunctionUrlConfig": urls.delete_function_url_config,
    "DeleteFunctionEventInvokeConfig": event_invoke.delete_function_event_invoke_config,
    "DeleteLayerVersion": layers.delete_layer_version,
    "DeleteProvisionedConcurrencyConfig": provisioned.delete_provisioned_concurrency_config,
    "DeleteResourcePolicy": permissions.delete_resource_policy,
    "GetAccountSettings": settings.get_account_settings,
    "GetAlias": aliases.get_alias,
    "GetEventSourceMapping": event_source_mappings.get_event_source_mapping,
    "GetFunction": functions.get_function,
    "GetFunctionCodeSigningConfig": settings.get_function_code_signing_config,
    "GetFunctionConcurrency": concurrency.get_function_concurrency,
    "GetFunctionConfiguration": functions.get_function_configuration,
    "GetFunctionEventInvokeConfig": event_invoke.get_function_event_invoke_config,
    "GetFunctionRecursionConfig": recursion.get_function_recursion_config,
    "GetFunctionUrlConfig": urls.get_function_url_config,
    "GetLayerVersion": layers.get_layer_version,
    "GetLayerVersionByArn": layers.get_layer_version_by_arn,
    "GetLayerVersionPolicy": layer_policies.get_layer_version_policy,
    "GetPolicy": permissions.get_policy,
    "GetResourcePolicy": permissions.get_resource_policy,
    "GetProvisionedConcurrencyConfig": provisioned.get_provisioned_concurrency_config,
    "GetRuntimeManagementConfig": runtime_management.get_runtime_management_config,
    "Invoke": invoke.invoke,
    "InvokeAsync": invoke.invoke_async,
    "InvokeWithResponseStream": invoke.invoke_with_response_stream,
    "ListAliases": aliases.list_aliases,
    "ListEventSourceMappings": event_source_mappings.list_event_source_mappings,
    "ListFunctionUrlConfigs": urls.list_function_url_configs,
    "ListFunctionEventInvokeConfigs": event_invoke.list_function_event_invoke_configs,
    "ListFunctions": functions.list_functions,
    "ListLayerVersions": layers.list_layer_versions,
    "ListLayers": layers.list_layers,
    "ListProvisionedConcurrencyConfigs": provisioned.list_provisioned_concurrency_configs,
    "ListTags": tags.list_tags,
    "ListVersionsByFunction": versions.list_versions_by_function,
    "PublishLayerVersion": layers.publish_layer_version,
    "PublishVersion": versions.publish_version,
    "PutFunctionConcurrency": concurrency.put_function_concurrency,
    "PutFunctionEventInvokeConfig": event_invoke.put_function_event_invoke_config,
    "PutFunctionRecursionConfig": recursion.put_function_recursion_config,
    "PutProvisionedConcurrencyConfig": provisioned.put_provisioned_concurrency_config,
    "PutResourcePolicy": permissions.put_resource_policy,
    "PutRuntimeManagementConfig": runtime_management.put_runtime_management_config,
    "RemoveLayerVersionPermission": layer_policies.remove_layer_version_permission,
    "RemovePermission": permissions.remove_permission,
    "TagResource": tags.tag_resource,
    "UntagResource": tags.untag_resource,
    "UpdateAlias": aliases.update_alias,
    "UpdateEventSourceMapping": event_source_mappings.update_event_source_mapping,
    "UpdateFunctionCode": updates.update_function_code,
    "UpdateFunctionConfiguration": updates.update_function_configuration,
    "UpdateFunctionEventInvokeConfig": event_invoke.update_function_event_invoke_config,
    "UpdateFunctionUrlConfig": urls.update_function_url_config,
}
