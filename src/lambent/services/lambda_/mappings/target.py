"""A function as what batches are handed to: run as any other invocation is, for the mapping that asks."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lambent.aws.arn import Arn
from lambent.aws.caller import Caller
from lambent.aws.errors import ApiError
from lambent.eventing.source import Answered, Failed, Outcome, Record, Refused
from lambent.services.lambda_ import recursion
from lambent.services.lambda_.execution_role import role_caller
from lambent.services.lambda_.mappings.model import EventSourceMapping
from lambent.services.lambda_.run import Asked, run

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


@dataclass(frozen=True, slots=True)
class FunctionTarget:
    """The function, version or alias of a mapping."""

    service: "Lambda"
    mapping: EventSourceMapping

    def obstacle(self) -> str | None:
        """As `Target`: a function that is gone or not ready takes nothing, so that no receive is counted for it."""
        entry = self.service.catalogue.find(self.mapping.function)
        if entry is None:
            return "PROBLEM: Function does not exist"
        try:
            version = entry.resolve(self.mapping.qualifier)
        except ApiError as error:
            return f"PROBLEM: {error.message}"
        return None if version.state.value == "Active" else f"PROBLEM: The function is {version.state.value}"

    def together(self, records: Sequence[Record]) -> Sequence[Sequence[Record]]:
        """As `Target`: messages that come from a loop of so many turns are refused by themselves.

        Those of a FIFO queue stay together, for they are in order.
        """
        looping = [record for record in records if self._is_at_its_end(record)]
        others = [record for record in records if record not in looping]
        return [part for part in (looping, others) if part]

    def _is_at_its_end(self, record: Record) -> bool:
        if record.group is not None or record.trace_header is None:
            return False
        return recursion.runs(record.trace_header, self.mapping.function.arn()) >= recursion.RUNS

    async def invoke(self, records: Sequence[Record], payload: bytes) -> Outcome:
        """As `Target`."""
        asked = Asked(
            key=self.mapping.function,
            qualifier=self.mapping.qualifier,
            payload=payload,
            request_id=str(uuid.uuid4()),
            trace_header=self._trace_header(records),
        )
        try:
            answer = await run(self.service, asked)
        except ApiError as error:
            return Refused(error.code, error.message)
        return Failed() if answer.result.function_error else Answered(answer.result.payload)

    def caller(self) -> Caller:
        """The execution role, as it is configured now, in the queue's region.

        Raises:
            ApiError: ResourceNotFoundException, when the function is gone.
        """
        version = self.service.catalogue.get(self.mapping.function).resolve(self.mapping.qualifier)
        region = Arn.parse(self.mapping.queue).region
        return role_caller(version.running.configuration.role, self.mapping.function, region=region)

    def _trace_header(self, records: Sequence[Record]) -> str | None:
        """Of the message that comes from the deepest in a loop through this function, if it is in one."""
        headers = [record.trace_header for record in records if record.trace_header]
        return max(headers, key=lambda header: recursion.runs(header, self.mapping.function.arn()), default=None)
