"""Boosts with early stopping under autologging, once by XGBoost's own interface and once by scikit-learn's."""

import json

import mlflow
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

mlflow.set_experiment("xgboost")
mlflow.xgboost.autolog(log_input_examples=True)
x, y = load_breast_cancer(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0)
train, test = xgboost.DMatrix(x_train, y_train), xgboost.DMatrix(x_test, y_test)

history: dict[str, dict[str, list[float]]] = {}
booster = xgboost.train(
    {"objective": "binary:logistic", "eval_metric": ["logloss", "auc"], "max_depth": 3, "eta": 0.9, "nthread": 1},
    train,
    num_boost_round=200,
    evals=[(train, "train"), (test, "test")],
    evals_result=history,
    early_stopping_rounds=5,
    verbose_eval=False,
)
boosted = mlflow.last_active_run()

model = xgboost.XGBClassifier(n_estimators=7, max_depth=2, n_jobs=1).fit(x_train, y_train)
classified = mlflow.last_active_run()

print(
    json.dumps(
        {
            "boosted": boosted.info.run_id,
            "history": history,
            "best_iteration": booster.best_iteration,
            "classified": classified.info.run_id,
        }
    )
)
