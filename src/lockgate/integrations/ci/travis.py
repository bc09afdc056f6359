"""Travis CI: one build, the report in its log and, with a bucket, as artifact, state in Travis's cache."""

from lockgate.integrations.ci.pipeline import Pipeline

provider = Pipeline(title="Travis CI", path=".travis.yml", template="travis.yml")
