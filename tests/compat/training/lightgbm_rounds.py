"""Boosts under autologging, once by LightGBM's own interface and once by scikit-learn's."""

import json

import lightgbm
import mlflow
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split

mlflow.set_experiment("lightgbm")
mlflow.lightgbm.autolog(log_input_examples=True)
x, y = load_diabetes(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
train = lightgbm.Dataset(x_train, y_train)
test = lightgbm.Dataset(x_test, y_test, reference=train)

history: dict[str, dict[str, list[float]]] = {}
lightgbm.train(
    {"objective": "regression", "metric": ["l2", "l1"], "num_leaves": 7, "num_threads": 1, "verbosity": -1},
    train,
    num_boost_round=40,
    valid_sets=[train, test],
    valid_names=["train", "test"],
    callbacks=[lightgbm.record_evaluation(history)],
)
boosted = mlflow.last_active_run()

lightgbm.LGBMRegressor(n_estimators=7, num_leaves=5, n_jobs=1, verbosity=-1).fit(x_train, y_train)
regressed = mlflow.last_active_run()

print(json.dumps({"boosted": boosted.info.run_id, "history": history, "regressed": regressed.info.run_id}))
