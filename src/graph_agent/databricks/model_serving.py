"""The calling user in Model Serving, where no proxy sets headers."""

from graph_agent.identity.user_token import UserToken


def serving_user_token() -> UserToken | None:
    """The calling user's token for the current request; `None` outside Model Serving, or where it is not enabled.

    Source: databricks-sdk, `ModelServingUserCredentials`.
    """
    from databricks.sdk.credentials_provider import ModelServingAuthProvider

    try:
        found = ModelServingAuthProvider(ModelServingAuthProvider.USER_CREDENTIALS).get_databricks_host_token()
    except RuntimeError:
        return None
    return UserToken(found[1]) if found and found[1] else None
