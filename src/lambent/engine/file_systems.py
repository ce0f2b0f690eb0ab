"""Which folder of the host stands for an access point of Amazon EFS or S3 Files. Pure.

There is no NFS here: what functions share is a folder that the operator names. A function sees it at its
LocalMountPath and may write to it.
"""

from collections.abc import Mapping
from pathlib import Path

from lambent.aws.errors import ApiError
from lambent.engine.spec import FunctionSpec


class NoFolderError(Exception):
    """No folder can stand for the access point; the text says which setting names one."""


def folder_for(arn: str, known: Mapping[str, Path]) -> Path:
    """The folder that stands for an access point.

    Raises:
        NoFolderError: none is named, or it is not there.
    """
    access_point = arn.rpartition("/")[2]
    folder = known.get(arn) or known.get(access_point)
    if folder is None:
        raise NoFolderError(
            f"No folder stands for access point {access_point}. "
            f'Name one in the setting file_systems = ["{access_point}=/a/folder"].'
        )
    if not folder.is_dir():
        raise NoFolderError(
            f"The setting file_systems names {folder} for access point {access_point}; it is no folder."
        )
    return folder


def folders_for(spec: FunctionSpec, known: Mapping[str, Path], *, has_walls: bool) -> tuple[tuple[str, Path], ...]:
    """Where a function sees which folder.

    Raises:
        ApiError: EFSMountFailureException; without walls nothing can be mounted.
    """
    if spec.file_systems and not has_walls:
        text = "File systems are mounted in execution environments with namespaces only; see lambent doctor."
        raise ApiError("EFSMountFailureException", text, Type="User")
    try:
        return tuple((target, folder_for(arn, known)) for arn, target in spec.file_systems)
    except NoFolderError as error:
        raise ApiError("EFSMountFailureException", str(error), Type="User") from error
