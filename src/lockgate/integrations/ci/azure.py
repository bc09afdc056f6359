"""Azure Pipelines: one job, the report as summary and artifact, state in the Cache task."""

from lockgate.integrations.ci.pipeline import Pipeline

provider = Pipeline(title="Azure Pipelines", path="azure-pipelines.yml", template="azure.yml")
