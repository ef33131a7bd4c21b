"""Packs the functions into one archive, as Lambda takes it."""

import compileall
import hashlib
import io
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from py_compile import PycInvalidationMode

from infra import FUNCTIONS

NOT_PACKED = ("__pycache__", "Makefile", "requirements.txt")


@dataclass(frozen=True, slots=True)
class Package:
    """The archive of all functions, made only if its digest is new, and the folder with its dependencies.

    `dependencies`: the folder with the packages that the functions import; empty if the archive has them.
    """

    digest: str
    archive: Callable[[], bytes]
    dependencies: str = ""


def digest_of_code(folder: Path = FUNCTIONS) -> str:
    """Return a digest of every file that is packed, and of the interpreter that it is compiled for."""
    digest = hashlib.sha256(sys.version.encode())
    for source in sorted(folder.rglob("*")):
        if source.is_file() and not {*source.relative_to(folder).parts} & {*NOT_PACKED}:
            digest.update(f"{source.relative_to(folder)}\0".encode() + source.read_bytes() + b"\0")
    return digest.hexdigest()


def archive_of_code(folder: Path = FUNCTIONS, dependencies: Path | None = None) -> bytes:
    """Return a zip of the source files and their byte code, with the dependencies beside them if given.

    The byte code is never checked against its source: unpacking changes the source's time, so every cold
    start would compile it again.
    """
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "functions"
        if dependencies is not None:
            shutil.copytree(dependencies, copy)
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*NOT_PACKED), dirs_exist_ok=True)
        compileall.compile_dir(
            copy, quiet=2, stripdir=str(copy), invalidation_mode=PycInvalidationMode.UNCHECKED_HASH
        )
        return _zip(copy)


def _zip(folder: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return buffer.getvalue()
