"""`lockgate run --deploy`: what passed goes through the automatic environments, and no further than it did well."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from sklearn.dummy import DummyRegressor

from lockgate.cli.main import lockgate
from lockgate.models.save import save_model

PROJECT = """\
model: churn
task: regression
stages:
  train:
    cmd: [rm -rf build, mkdir build, cp -r "models/$(cat choice)" build/model]
    deps: [models, choice]
    model: build/model
environments:
  staging: {promote: automatic}
  production: {promote: automatic}
"""


class Place:
    """A project that can make version 1 and version 2."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "lockgate.yaml").write_text(PROJECT)
        for constant in (1.0, 2.0):
            model = DummyRegressor(strategy="constant", constant=constant).fit(np.zeros((2, 1)), [constant] * 2)
            save_model(model, root / "models" / f"{constant:.0f}", example=pl.DataFrame({"a": [1.0, 2.0]}))

    def deploy(self, choice: str) -> list[str]:
        """What `lockgate run --deploy` says of the environments, without the reasons."""
        (self.root / "choice").write_text(choice)
        printed = self.call("run", "--deploy").splitlines()
        return [line for line in printed if line.startswith(("staging:", "production:"))]

    def call(self, *arguments: str) -> str:
        result = CliRunner().invoke(lockgate, ["-C", str(self.root), *arguments], standalone_mode=False)
        if result.exception:
            raise result.exception
        return result.stdout


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_passed_goes_through_all_automatic_environments_once(place: Place) -> None:
    ends = [line for line in place.deploy("1") if "succeeded" in line]
    assert [line.partition(":")[0] for line in ends] == ["staging", "production"]
    assert place.deploy("1") == [
        "staging: has had this version already.",
        "production: has had this version already.",
    ]


def test_what_was_rolled_back_goes_no_further(place: Place) -> None:
    place.deploy("1")
    place.deploy("2")
    place.call("rollback", "staging")
    assert place.deploy("2") == ["staging: version 2 was rolled back here."]
