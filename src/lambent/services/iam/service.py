"""IAM: roles, managed policies and instance profiles as stored resources. Nothing is enforced here."""

from dataclasses import dataclass
from functools import partial
from typing import Final

from lambent.aws.policy import Permissions, Principal
from lambent.clock import Clock
from lambent.dispatch import Handler
from lambent.services.iam import permissions
from lambent.services.iam.api import instance_profiles, policies, policy_versions, role_policies, roles
from lambent.store.database import Database

_HANDLERS: Final = {
    "AddRoleToInstanceProfile": instance_profiles.add_role_to_instance_profile,
    "AttachRolePolicy": role_policies.attach_role_policy,
    "CreateInstanceProfile": instance_profiles.create_instance_profile,
    "CreatePolicy": policies.create_policy,
    "CreatePolicyVersion": policy_versions.create_policy_version,
    "CreateRole": roles.create_role,
    "DeleteInstanceProfile": instance_profiles.delete_instance_profile,
    "DeletePolicy": policies.delete_policy,
    "DeletePolicyVersion": policy_versions.delete_policy_version,
    "DeleteRole": roles.delete_role,
    "DeleteRolePermissionsBoundary": roles.delete_role_permissions_boundary,
    "DeleteRolePolicy": role_policies.delete_role_policy,
    "DetachRolePolicy": role_policies.detach_role_policy,
    "GetInstanceProfile": instance_profiles.get_instance_profile,
    "GetPolicy": policies.get_policy,
    "GetPolicyVersion": policy_versions.get_policy_version,
    "GetRole": roles.get_role,
    "GetRolePolicy": role_policies.get_role_policy,
    "ListAttachedRolePolicies": role_policies.list_attached_role_policies,
    "ListEntitiesForPolicy": policies.list_entities_for_policy,
    "ListInstanceProfileTags": instance_profiles.list_instance_profile_tags,
    "ListInstanceProfiles": instance_profiles.list_instance_profiles,
    "ListInstanceProfilesForRole": instance_profiles.list_instance_profiles_for_role,
    "ListPolicies": policies.list_policies,
    "ListPolicyTags": policies.list_policy_tags,
    "ListPolicyVersions": policy_versions.list_policy_versions,
    "ListRolePolicies": role_policies.list_role_policies,
    "ListRoleTags": roles.list_role_tags,
    "ListRoles": roles.list_roles,
    "PutRolePermissionsBoundary": roles.put_role_permissions_boundary,
    "PutRolePolicy": role_policies.put_role_policy,
    "RemoveRoleFromInstanceProfile": instance_profiles.remove_role_from_instance_profile,
    "SetDefaultPolicyVersion": policy_versions.set_default_policy_version,
    "TagInstanceProfile": instance_profiles.tag_instance_profile,
    "TagPolicy": policies.tag_policy,
    "TagRole": roles.tag_role,
    "UntagInstanceProfile": instance_profiles.untag_instance_profile,
    "UntagPolicy": policies.untag_policy,
    "UntagRole": roles.untag_role,
    "UpdateAssumeRolePolicy": roles.update_assume_role_policy,
    "UpdateRole": roles.update_role,
    "UpdateRoleDescription": roles.update_role_description,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Iam:
    """The service: global, so the caller's region does not matter."""

    database: Database
    clock: Clock

    def operations(self) -> dict[str, Handler]:
        return {name: partial(handler, self) for name, handler in _HANDLERS.items()}

    async def permissions(self, principal: Principal) -> Permissions:
        """The policies that say what a principal may do."""
        return await permissions.permissions_of(self, principal)

    def now(self) -> int:
        """The time of day as IAM tells it: in whole seconds."""
        return int(self.clock.now())
