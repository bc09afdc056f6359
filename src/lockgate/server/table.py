"""Every operation that a server performs: the one table that HTTP and the in-process client look things up in."""

from collections.abc import Mapping

from lockgate.server.context import AnyRoute
from lockgate.server.routes import (
    access,
    adoption,
    artifacts,
    delivery,
    events,
    experiments,
    logged_models,
    mlflow_registry,
    mlflow_users,
    mlflow_webhooks,
    monitoring,
    purge,
    registry,
    runs,
    series,
    webhooks,
)

ROUTES: tuple[AnyRoute, ...] = (
    *experiments.ROUTES,
    *runs.ROUTES,
    *series.ROUTES,
    *logged_models.ROUTES,
    *adoption.ROUTES,
    *mlflow_registry.ROUTES,
    *artifacts.ROUTES,
    *registry.ROUTES,
    *delivery.ROUTES,
    *monitoring.ROUTES,
    *purge.ROUTES,
    *events.ROUTES,
    *access.ROUTES,
    *mlflow_users.ROUTES,
    *webhooks.ROUTES,
    *mlflow_webhooks.ROUTES,
)

BY_NAME: Mapping[str, AnyRoute] = {route.operation.name: route for route in ROUTES}
assert len(BY_NAME) == len(ROUTES), "two routes share an operation"
