"""What every refusal of a command must be: exit code 2, one sentence, and no file left behind."""


def refused(main, arguments, folder, capsys):
    """The sentence with which a command is refused, after which the folder holds what it held before."""
    before = sorted(folder.rglob("*"))
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: "), error
    assert error.count("\n") == 1, error
    assert sorted(folder.rglob("*")) == before  # nothing half-written
    return error
