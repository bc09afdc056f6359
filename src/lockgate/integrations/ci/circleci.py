"""CircleCI: a model job and a deploy job, the report as artifact, state in CircleCI's cache."""

from lockgate.integrations.ci.pipeline import Pipeline

provider = Pipeline(title="CircleCI", path=".circleci/config.yml", template="circleci.yml")
