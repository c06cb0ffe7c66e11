"""Command lines as they were written for seeds of this project, read as ours."""

from collections.abc import Iterable

ANY_CASE = ("--model", "--dataset")


def spoken(arguments: Iterable[str]) -> list[str]:
    """The same words for tyro: `--kernel None` is no kernel, any other `--option None` the option's default.

    Names of networks and datasets may be written in any case; `package.module:factory` is left as it is.
    """
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    found: list[str] = []
    for word in words:
        option = found[-1] if found else ""
        if word == "None" and option.startswith("--"):
            found = found if option == "--kernel" else found[:-1]
        else:
            found.append(word.lower() if option in ANY_CASE and ":" not in word else word)
    return found
