"""Jenkins: a declarative multibranch pipeline, the report as artifact, state in a folder of the agent."""

from lockgate.integrations.ci.pipeline import Pipeline

provider = Pipeline(title="Jenkins", path="Jenkinsfile", template="Jenkinsfile")
