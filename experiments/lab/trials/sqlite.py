"""Name the database of a file, whatever its path holds."""

from pathlib import Path

from sqlalchemy import URL


def sqlite_url(path: Path) -> str:
    """`sqlite:///PATH` for Optuna and MLflow, in which a `?`, `%`, `#` or `{` of the path stands for itself.

    Unquoted, ? begins options and %41 is A: two studies would share one stray file.
    """
    plain = URL.create("sqlite", database=str(path.absolute())).render_as_string()
    if plain.endswith(str(path.absolute())):
        return plain
    # MLflow makes the folder of what follows "sqlite:///" as it is written, quoted: a stray one; here it leaves that
    return URL.create("sqlite+pysqlite", database=str(path.absolute())).render_as_string()
