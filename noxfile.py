"""What a contributor runs: `nox`, or one of them by `nox -s tests`."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["lint", "types", "docs", "tests"]


@nox.session
def lint(session: nox.Session) -> None:
    """Style and format."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Types of the package."""
    session.install("-e", ".[dev]")
    session.run("mypy", "keras_trainsteps")


@nox.session
def docs(session: nox.Session) -> None:
    """The site, in `docs/_build`."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "sphinx", "-W", "docs", "docs/_build")


@nox.session
def tests(session: nox.Session) -> None:
    """The default run."""
    session.install("-e", ".[test]")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session
def slow(session: nox.Session) -> None:
    """The long matrices."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-n", "2", "-m", "slow", *session.posargs)
