"""Packs the functions' own code into one archive, as Lambda takes it."""

import compileall
import hashlib
import io
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from py_compile import PycInvalidationMode

from infra import FUNCTIONS


def digest_of_code(folder: Path = FUNCTIONS) -> str:
    """Return a digest of every source file and of the interpreter that it is compiled for."""
    digest = hashlib.sha256(sys.version.encode())
    for source in sorted(folder.rglob("*.py")):
        digest.update(f"{source.relative_to(folder)}\0".encode() + source.read_bytes() + b"\0")
    return digest.hexdigest()


def archive_of_code(folder: Path = FUNCTIONS) -> bytes:
    """Return a zip of the source files and their byte code.

    The byte code is never checked against its source: unpacking gives that a new time, and every cold start
    would compile again.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "functions"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("__pycache__"))
        compileall.compile_dir(
            copy, quiet=2, stripdir=str(copy), invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
        return _zip(copy)


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*.py*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return buffer.getvalue()
