"""GetFunctionRecursionConfig, PutFunctionRecursionConfig."""

from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection

from lambent.aws.caller import Caller
from lambent.dispatch import Shape
from lambent.services.lambda_ import rows
from lambent.services.lambda_.api.names import locate_function
from lambent.services.lambda_.attached import Recursion
from lambent.services.lambda_.model import not_found
from lambent.services.lambda_.recursion import TERMINATE

if TYPE_CHECKING:
    from lambent.services.lambda_.service import Lambda


async def get_function_recursion_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """GetFunctionRecursionConfig: Terminate unless it was set. Source: AWS Lambda API Reference."""
    entry = service.catalogue.get(locate_function(caller, params["FunctionName"]))
    found = entry.its(Recursion)
    return {"RecursiveLoop": found.recursive_loop if found else TERMINATE}


async def put_function_recursion_config(service: "Lambda", caller: Caller, params: Shape) -> Shape:
    """PutFunctionRecursionConfig, of all versions of a function. Source: AWS Lambda API Reference."""
    key = locate_function(caller, params["FunctionName"])
    recursion = Recursion(key=key, recursive_loop=params["RecursiveLoop"])

    def change(tx: Connection) -> Recursion:
        if rows.function(tx, key) is None:
            raise not_found(key)
        rows.put_attached(tx, recursion)
        return recursion

    await service.database.write(change, committed=service.catalogue.put)
    return {"RecursiveLoop": recursion.recursive_loop}
