"""A certificate of our own for 127.0.0.1."""

import subprocess
from pathlib import Path

REQUEST = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Certificate and key as PEM files."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    places = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*REQUEST.split(), *places], check=True, capture_output=True)
    return cert, key
