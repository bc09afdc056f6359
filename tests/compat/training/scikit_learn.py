"""Fits a pipeline and searches a grid under autologging, then prints what scikit-learn itself says of both."""

import json

import mlflow
from sklearn import metrics
from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

mlflow.set_experiment("scikit-learn")
mlflow.sklearn.autolog(max_tuning_runs=None, log_input_examples=True)
x, y = load_wine(return_X_y=True, as_frame=True)
x_train, x_test, y_train, y_test = train_test_split(x, y, random_state=0, stratify=y)

with mlflow.start_run(run_name="pipeline") as fitted:
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.001)).fit(x_train, y_train)
    score = model.score(x_test, y_test)
    f1 = metrics.f1_score(y_test, model.predict(x_test), average="macro")

search = GridSearchCV(RandomForestClassifier(random_state=0), {"n_estimators": [5, 10], "max_depth": [2, 3]}, cv=3).fit(
    x_train, y_train
)
searched = mlflow.last_active_run()

print(
    json.dumps(
        {
            "fitted": fitted.info.run_id,
            "score": score,
            "f1": f1,
            "searched": searched.info.run_id,
            "best": search.best_params_,
            "best_score": search.best_score_,
            "tried": [
                [params, float(score)]
                for params, score in zip(
                    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
                )
            ],
        }
    )
)
