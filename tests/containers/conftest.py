"""The image, built once, and the deployed stack, started once and ended after the last container test."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from typing import Final, NoReturn

import pytest

from soleclaim.demo import acts

from .stack import DEPLOY, IMAGE, PLANTS, TOP, Stack, remove_leftovers, run

BUILD_LIMIT_S: Final = 600.0
# The first of each is made by deploy/make-base-images. Nothing is pulled.
PYTHON_IMAGES: Final = ("soleclaim-base/python:3.11-bookworm", "python:3.11-slim-bookworm")
POSTGRES_IMAGES: Final = ("soleclaim-base/postgres:15-bookworm", "postgres:15-bookworm")

_stack_of_session: pytest.StashKey[Stack] = pytest.StashKey()


@pytest.fixture(scope="session")
def stack(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, missing: Callable[[str, str], NoReturn]
) -> Iterator[Stack]:
    """The whole stack on PostgreSQL, as ``deploy/compose.yaml`` has it, after act 1 of the demo."""
    if reason := _what_is_missing():
        missing("containers", reason)
    python_image, postgres_image = _first(PYTHON_IMAGES), _first(POSTGRES_IMAGES)
    if python_image is None or postgres_image is None:
        missing("containers", "no base images; deploy/make-base-images makes them")
    remove_leftovers()
    stack = Stack(tmp_path_factory.mktemp("stack"), _build(python_image), postgres_image)
    request.session.stash[_stack_of_session] = stack
    try:
        stack.prepare()
        stack.up()
        asyncio.run(_register(stack))
        yield stack
    finally:
        stack.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the containers' last words into the report of a test that failed."""
    report = yield
    stack = item.session.stash.get(_stack_of_session, None)
    if report.failed and report.when != "teardown" and stack is not None:
        report.sections.append(("container logs", stack.logs()))
    return report


def _what_is_missing() -> str:
    if (
        shutil.which("docker") is None
        or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode
    ):
        return "no Docker engine answers"
    if (
        not shutil.which("docker-compose")
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode
    ):
        return "Compose is not installed"
    return "" if os.geteuid() == 0 else "deploy/make-secrets needs root"


async def _register(stack: Stack) -> None:
    async with stack.stage("register", PLANTS) as stage:
        await acts.register(stage)


def _build(python_image: str) -> str:
    """Build the image and give its id; the one it replaces goes when unused, the layers that both share stay."""
    listed = ("docker", "image", "ls", "--quiet", "--no-trunc", IMAGE)
    before = run(*listed).split()
    options = ("--file", DEPLOY / "Dockerfile", "--build-arg", f"PYTHON_IMAGE={python_image}", "--tag", IMAGE)
    image = run("docker", "build", "--quiet", *options, TOP, limit_s=BUILD_LIMIT_S).strip()
    for replaced in set(before) - {image}:
        # Another run may stand on it; then it stays.
        subprocess.run(["docker", "image", "rm", replaced], capture_output=True, check=False)
    return image


def _first(images: tuple[str, ...]) -> str | None:
    for image in images:
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode == 0:
            return image
    return None
