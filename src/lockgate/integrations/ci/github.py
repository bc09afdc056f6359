"""GitHub Actions: one workflow, the report as job summary and artifact, state in actions/cache."""

from lockgate.integrations.ci.pipeline import Pipeline

provider = Pipeline(title="GitHub Actions", path=".github/workflows/lockgate.yml", template="github.yml")
