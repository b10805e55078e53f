"""The app's permissions: those that the bundle declares, compared with those that the app has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from graph_agent.deploying.declared_checks import PRINCIPALS

if TYPE_CHECKING:
    from databricks.sdk.service.apps import App, AppPermissions

Permission = Mapping[str, str]
"""A permission as in the bundle: `level`, and one of `user_name`, `group_name` and `service_principal_name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What setting the permissions would change. Setting replaces all of the app's direct permissions; inherited ones
    stay."""

    declared: Sequence[Permission] | None
    """`None` if the bundle does not mention permissions. Then the app's permissions are not changed."""

    added: Sequence[Permission] = ()
    removed: Sequence[Permission] = ()
    kept: Sequence[Permission] = ()
    """Not declared, but kept because they belong to the app's creator."""

    @property
    def differs(self) -> bool:
        """Whether anything must be set."""
        return bool(self.added or self.removed)

    @property
    def wanted(self) -> Sequence[Permission]:
        """All direct permissions that the app will have."""
        return [*(self.declared or ()), *self.kept]


def compare(
    declared: Sequence[Permission] | None, permissions: "AppPermissions | None", *, app: "App | None", deployer: str
) -> Access:
    """Compare the app's direct permissions, without inherited ones, with what the bundle declares."""
    if declared is None:
        return Access(declared=None)
    held = _held(permissions)
    there, wanted = {_key(one) for one in held}, {_key(one) for one in declared}
    named = {_key(one)[:2] for one in declared}
    creator = (app.creator if app else None) or ""
    kept: list[Permission] = []
    removed: list[Permission] = []
    for one in held:
        kind, who, _ = _key(one)
        # CAN_MANAGE includes CAN_USE, and the platform may list both for one declared CAN_MANAGE. The deployer's
        # permission is always kept, because `Platform.grant` sends it too.
        if {_key(one), (kind, who, "CAN_MANAGE")} & wanted or who == deployer.casefold():
            continue
        (kept if who == creator.casefold() and (kind, who) not in named else removed).append(one)
    return Access(
        declared=declared, added=[one for one in declared if _key(one) not in there], removed=removed, kept=kept
    )


def described(permissions: Collection[Permission]) -> str:
    """Text for a person, such as `CAN_USE for users`."""
    return ", ".join(f"{one['level']} for {one[_kind(one)]}" for one in permissions) or "none"


def _kind(permission: Permission) -> str:
    return next(kind for kind in PRINCIPALS if kind in permission)


def _key(permission: Permission) -> tuple[str, str, str]:
    kind = _kind(permission)
    # The platform may return an email address in another case than the bundle has it.
    return kind, permission[kind].casefold(), permission["level"]


def _held(permissions: "AppPermissions | None") -> list[dict[str, str]]:
    return [
        {"level": level.permission_level.value, kind: name}
        for one in (permissions.access_control_list or () if permissions else ())
        for kind in PRINCIPALS
        if (name := getattr(one, kind))
        for level in one.all_permissions or ()
        if level.permission_level is not None and not level.inherited
    ]
