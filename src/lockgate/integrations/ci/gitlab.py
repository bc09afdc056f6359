"""GitLab CI: a model job and a deploy job, the report as artifact, state in the runner's cache."""

from lockgate.integrations.ci.pipeline import Pipeline

provider = Pipeline(title="GitLab CI", path=".gitlab-ci.yml", template="gitlab.yml")
