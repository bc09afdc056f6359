"""Whose certificates of https servers are good, said by the variables that MLflow's client and requests read."""

import ssl
from collections.abc import Mapping
from pathlib import Path

from lockgate.errors import InvalidInput

OWN_CERTIFICATES = "MLFLOW_TRACKING_SERVER_CERT_PATH"
_INSECURE = "MLFLOW_TRACKING_INSECURE_TLS"
_CERTIFICATES = (OWN_CERTIFICATES, "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def read_trust(environ: Mapping[str, str]) -> ssl.SSLContext | None:
    """None: those that the system trusts. Raises InvalidInput for a file that holds none."""
    if environ.get(_INSECURE, "").lower() in ("1", "true") and not environ.get(OWN_CERTIFICATES):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    for name in _CERTIFICATES:
        if path := environ.get(name):
            try:
                if Path(path).is_dir():
                    return ssl.create_default_context(capath=path)
                return ssl.create_default_context(cafile=path)
            except OSError as error:
                raise InvalidInput(
                    f"{name} names {path!r}, which cannot be read: {error.strerror}.",
                    hint="it must be a file of certificates (PEM), or a folder that `openssl rehash` has seen",
                ) from error
    return None
