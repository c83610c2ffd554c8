"""Secrets come from real environments, files, age texts and programs, and never show in an error."""

import asyncio
import os
import select
import shutil
import signal
import traceback
from pathlib import Path

import pyrage
import pytest

from reconciler.execute.secrets import SECRET_MAX, Origins, SecretRules, SecretUnavailable, resolve, resolve_all
from reconciler.model.variables import SecretSource

SECRET = "hunter2-hunter2"


@pytest.fixture
def origins(tmp_path: Path) -> Origins:
    root = tmp_path / "space"
    root.mkdir()
    return Origins(root, {"PATH": os.environ["PATH"], "SHOP_PASSWORD": SECRET})


async def failure(source: SecretSource, origins: Origins) -> SecretUnavailable:
    with pytest.raises(SecretUnavailable) as caught:
        await resolve("Db.Password", source, origins)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in "".join(traceback.format_exception(error))
        assert SECRET not in repr(error)
        error = error.__context__
    return caught.value


def command(script: str, *arguments: str) -> SecretSource:
    return SecretSource(command=("sh", "-c", script, "sh", *arguments))


async def test_an_environment_variable_is_taken_as_it_is(origins: Origins) -> None:
    assert await resolve("Db.Password", SecretSource(env="SHOP_PASSWORD"), origins) == SECRET


@pytest.mark.parametrize(
    ("content", "value"),
    [
        (f"{SECRET}\n", SECRET),
        (f"{SECRET}\r\n", SECRET),
        (SECRET, SECRET),
        ("-----BEGIN\nkey\n-----END\n", "-----BEGIN\nkey\n-----END\n"),
    ],
)
async def test_a_file_is_read_without_the_line_end_of_a_single_line(origins: Origins, content: str, value: str) -> None:
    (origins.root / "secrets").mkdir()
    (origins.root / "secrets" / "db").write_bytes(content.encode())
    assert await resolve("Db.Password", SecretSource(file="secrets/db"), origins) == value


async def test_a_link_within_the_root_is_followed_and_one_that_leads_out_is_refused(origins: Origins) -> None:
    (origins.root / "real").write_text(SECRET)
    (origins.root / "inside").symlink_to("real")
    assert await resolve("Db.Password", SecretSource(file="inside"), origins) == SECRET
    (origins.root.parent / "other").write_text(SECRET)
    (origins.root / "outside").symlink_to("../other")
    assert (await failure(SecretSource(file="outside"), origins)).message == (
        "the value of Db.Password cannot be had from the file outside: it lies outside of the space's root"
    )


@pytest.mark.parametrize("name", ["../other", "a/../../other", "/etc/hostname"])
async def test_a_file_outside_of_the_root_is_refused(origins: Origins, name: str) -> None:
    (origins.root.parent / "other").write_text(SECRET)
    (origins.root / "a").mkdir()
    assert (await failure(SecretSource(file=name), origins)).message == (
        f"the value of Db.Password cannot be had from the file {name}: it lies outside of the space's root"
    )


async def test_what_is_no_file_is_refused_and_never_waited_for(origins: Origins) -> None:
    os.mkfifo(origins.root / "pipe")
    (origins.root / "circle").symlink_to("circle")
    for name, problem in (
        ("pipe", "it is no regular file"),
        (".", "it is no regular file"),
        ("gone", "there is no such file"),
        ("circle", "there is no such file"),
        ("a\0b", "there is no such file"),
    ):
        assert (await failure(SecretSource(file=name), origins)).message.endswith(f": {problem}")


def with_identities(origins: Origins, text: str) -> Origins:
    path = origins.root.parent / "identities"
    path.write_text(text)
    return Origins(origins.root, {**origins.environment, "RECONCILE_AGE_IDENTITY": str(path)})


async def test_an_age_text_is_decrypted_by_any_of_the_identities(origins: Origins) -> None:
    one, other = pyrage.x25519.Identity.generate(), pyrage.x25519.Identity.generate()
    source = SecretSource(age=pyrage.encrypt(f"{SECRET}\n".encode(), [other.to_public()], armored=True).decode())
    known = with_identities(origins, f"# two identities\n{one}\n\n{other}\n")
    assert await resolve("Db.Password", source, known) == SECRET
    stranger = with_identities(origins, str(one))
    assert (await failure(source, stranger)).message == (
        "the value of Db.Password cannot be had from its age text: "
        f"none of the identities in {stranger.environment['RECONCILE_AGE_IDENTITY']} decrypts it"
    )


async def test_an_age_text_without_identities_says_what_to_set(origins: Origins) -> None:
    source = SecretSource(age="nonsense")
    without = await failure(source, origins)
    assert without.message == "the value of Db.Password cannot be had from its age text: no age identity is at hand"
    assert without.hint == "name the file that holds it in RECONCILE_AGE_IDENTITY"
    for text in ("", "AGE-SECRET-KEY-1WRONG", "-----BEGIN OPENSSH PRIVATE KEY-----"):
        found = await failure(source, with_identities(origins, text))
        assert found.message.endswith("identities holds no age identities")


async def test_a_program_is_asked_without_its_final_line_end(origins: Origins) -> None:
    assert await resolve("Db.Password", command(f"echo {SECRET}"), origins) == SECRET
    assert await resolve("Db.Password", command('printf "%s" "$SHOP_PASSWORD"'), origins) == SECRET


async def test_a_named_source_gets_its_key_as_the_last_argument(origins: Origins) -> None:
    rules = SecretRules(sources={"vault": ("sh", "-c", 'echo "$1-$2"', "sh", "read")})
    named = Origins(origins.root, origins.environment, rules)
    assert await resolve("Db.Password", SecretSource(source="vault", key="shop/db"), named) == "read-shop/db"
    assert (await failure(SecretSource(source="other", key="k"), named)).message == (
        "the value of Db.Password cannot be had from the source other, key k: no source of this name is configured"
    )


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (SecretSource(env="NOPE"), "the environment variable NOPE: it is not set"),
        (command("exit 3"), "the command sh: it ended with exit code 3"),
        (command(f"echo {SECRET} >&2; echo {SECRET}; exit 1"), "the command sh: it ended with exit code 1"),
        (command("true"), "the command sh: it is empty"),
        (command("head -c 200000 /dev/zero"), "the command sh: it has more than 127 KiB"),
        (command("printf '\\377'"), "the command sh: it is no text in UTF-8"),
        (SecretSource(command=("no-such-program",)), "the command no-such-program: it cannot be started (No such file or directory)"),
        (SecretSource(command=("sh", "a\0b")), "the command sh: it cannot be started (an argument holds a NUL character)"),
        (SecretSource(command=()), "an empty command: it names no program"),
    ],
)  # fmt: skip
async def test_what_gives_no_value_says_why(origins: Origins, source: SecretSource, sentence: str) -> None:
    message = (await failure(source, origins)).message.replace(SECRET, "…")
    assert message == f"the value of Db.Password cannot be had from {sentence}"


async def test_a_file_that_is_too_long_or_no_text_is_refused(origins: Origins) -> None:
    (origins.root / "long").write_bytes(b"a" * (SECRET_MAX + 1))
    (origins.root / "bytes").write_bytes(SECRET.encode() + b"\xff")
    assert (await failure(SecretSource(file="long"), origins)).message.endswith("it has more than 127 KiB")
    assert (await failure(SecretSource(file="bytes"), origins)).message.endswith("it is no text in UTF-8")


FAMILY = "sleep 600 & echo $$ $! > started; wait"


def ended(pid: int) -> bool:
    """Wait for the end of a process, at most ten seconds."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    try:
        return bool(poll.poll(10_000))
    finally:
        os.close(descriptor)


async def started(origins: Origins) -> list[int]:
    """Return the process ids of a family as soon as both are there."""
    return [int(pid) for pid in (await asyncio.to_thread((origins.root / "started").read_text)).split()]


async def test_a_program_that_takes_too_long_is_killed_with_its_children(origins: Origins) -> None:
    os.mkfifo(origins.root / "started")
    hasty = Origins(origins.root, origins.environment, command_timeout=2)
    family, found = await asyncio.gather(started(origins), failure(command(FAMILY), hasty))
    assert found.message.endswith("it did not end within 2 seconds")
    assert [ended(pid) for pid in family] == [True, True]


async def test_a_program_that_is_no_longer_wanted_is_killed_with_its_children(origins: Origins) -> None:
    os.mkfifo(origins.root / "started")
    asking = asyncio.create_task(resolve("Db.Password", command(FAMILY), origins))
    family = await started(origins)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert [ended(pid) for pid in family] == [True, True]


async def test_a_child_that_leaves_the_group_and_keeps_the_output_cannot_hold_us_up(origins: Origins) -> None:
    os.mkfifo(origins.root / "started")
    hasty = Origins(origins.root, origins.environment, command_timeout=2)
    daemon = "setsid sh -c 'echo $$ > started; exec sleep 600' & echo secret"
    (pid,), found = await asyncio.gather(started(origins), failure(command(daemon), hasty))
    assert found.message.endswith("it did not end within 2 seconds")
    os.kill(pid, signal.SIGKILL)


async def test_several_variables_are_resolved_together(origins: Origins) -> None:
    sources = {"A": SecretSource(env="SHOP_PASSWORD"), "B": command("echo b")}
    assert await resolve_all(sources, origins) == {"A": SECRET, "B": "b"}


def test_where_secrets_come_from_shows_no_values(origins: Origins) -> None:
    assert SECRET not in repr(origins)


async def test_a_server_reads_only_what_its_configuration_allows(origins: Origins, tmp_path: Path) -> None:
    allowed = tmp_path / "secrets"
    allowed.mkdir()
    (allowed / "db").write_text(f"{SECRET}\n")
    (tmp_path / "other").write_text(SECRET)
    (allowed / "way-out").symlink_to(tmp_path / "other")
    server = Origins(origins.root, origins.environment, SecretRules(("SHOP_*",), (allowed,)))
    assert await resolve("Db.Password", SecretSource(env="SHOP_PASSWORD"), server) == SECRET
    assert await resolve("Db.Password", SecretSource(file=str(allowed / "db")), server) == SECRET
    for source, sentence in [
        (SecretSource(env="PATH"), "the environment variable PATH: the server's configuration does not allow it"),
        (
            SecretSource(file=str(allowed / "way-out")),
            f"the file {allowed}/way-out: there is no such file in the directories that the server's configuration allows",
        ),
        (command(f"echo {SECRET}"), "the command sh: a server runs no program that a commit names"),
        (SecretSource(source="vault", key="k"), "the source vault, key k: no source of this name is configured"),
    ]:
        error = await failure(source, server)
        assert error.message == f"the value of Db.Password cannot be had from {sentence}"
        assert error.hint


NOWHERE = "there is no such file in the directories that the server's configuration allows"


async def test_a_server_looks_for_a_relative_file_in_each_directory_that_it_allows(
    origins: Origins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, here = tmp_path / "first", tmp_path / "second", tmp_path / "here"
    for folder in (first, second / "shop", here / "shop"):
        folder.mkdir(parents=True)
    monkeypatch.chdir(here)
    (here / "shop/cwd").write_text(SECRET)
    (origins.root / "of-the-space").write_text(SECRET)
    (second / "shop/db").write_text(f"{SECRET}\n")
    (first / "both").write_text("the first")
    (second / "both").write_text("the second")
    (first / "way-out").symlink_to(second / "both")
    server = Origins(origins.root, origins.environment, SecretRules(directories=(first, tmp_path / "missing", second)))
    assert await resolve("Db.Password", SecretSource(file="shop/db"), server) == SECRET
    assert await resolve("Db.Password", SecretSource(file="both"), server) == "the first"
    for file in ("shop/cwd", "of-the-space", "way-out", "../here/shop/cwd"):
        error = await failure(SecretSource(file=file), server)
        assert error.message == f"the value of Db.Password cannot be had from the file {file}: {NOWHERE}"
        assert error.hint == (
            "put it into one of them, or add its directory to [secrets] directories in the file that `serve --config` names"
        )


async def test_a_server_without_configuration_reads_nothing(origins: Origins) -> None:
    server = Origins(origins.root, origins.environment, SecretRules())
    assert "does not allow it" in (await failure(SecretSource(env="SHOP_PASSWORD"), server)).message


@pytest.mark.parametrize(
    ("source", "passing"),
    [
        (command("exit 3"), True),
        (command("true"), True),
        (command("sleep 60"), True),
        (command("printf '\\377'"), False),
        (SecretSource(command=("no-such-program",)), False),
        (SecretSource(command=()), False),
        (SecretSource(env="NOT_SET"), False),
        (SecretSource(env="EMPTY"), False),
        (SecretSource(file="none"), False),
        (SecretSource(source="vault", key="db"), False),
    ],
)
async def test_only_what_a_program_did_not_give_once_may_be_had_the_next_time(
    origins: Origins, source: SecretSource, passing: bool
) -> None:
    hurried = Origins(origins.root, {**origins.environment, "EMPTY": ""}, command_timeout=0.5)
    assert (await failure(source, hurried)).passing is passing


async def test_a_program_that_is_being_replaced_can_be_started_the_next_time(origins: Origins, tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/echo", tmp_path / "vault"))
    source = SecretSource(command=(str(program), SECRET))
    writer = os.open(program, os.O_WRONLY)
    found = await failure(source, origins)
    os.close(writer)
    assert found.passing
    assert found.message == (
        f"the value of Db.Password cannot be had from the command {program}: it cannot be started (Text file busy)"
    )
    assert await resolve("Db.Password", source, origins) == SECRET


async def test_why_a_secret_was_wanted_is_said_with_why_it_cannot_be_had(origins: Origins) -> None:
    found = (await failure(command("exit 3"), origins)).beside("it is to be masked")
    assert found.message == (
        "the value of Db.Password cannot be had from the command sh: it ended with exit code 3; it is to be masked"
    )
    assert (found.hint, found.passing) == ("run it by hand to see why", True)
