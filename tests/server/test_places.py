"""Where objects are declared moves with every commit, also where nothing else of them does."""

from pathlib import Path

from reconciler.model.following import ConditionType
from reconciler.model.spec import Address, Position
from tests.cli.workplace import POOL, Workplace
from tests.server.following import followed

BROKEN = "{{ .Values.broken\n"


async def test_a_file_that_was_renamed_is_missed_when_it_is_damaged(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("linux", "mac")
        await here.look()
        here.repository.git("mv", "pool-mac.yaml", "apple.yaml")
        renamed = here.repository.commit("Rename")
        await here.look()
        live = await here.live()
        assert live.objects[Address("WorkerPool", "mac")].position == Position("apple.yaml", 1, 1)
        assert live.revision == renamed
        here.repository.write("apple.yaml", BROKEN)
        here.repository.commit("Damage")
        await here.look()
        assert (await here.reason(), await here.pools()) == ("Invalid", {"linux", "mac"})


async def test_lines_that_move_are_followed_once_and_are_no_drift(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("linux", "mac")
        await here.look()
        before = await here.live()
        text = (here.repository.root / "pool-mac.yaml").read_text()
        here.repository.write("pool-mac.yaml", f"# The desks.\n# Two of them.\n{text}")
        for _ in range(2):
            head = here.repository.commit("Explain")
            await here.look()
            live = await here.live()
            assert live.objects[Address("WorkerPool", "mac")].position == Position("pool-mac.yaml", 3, 1)
            assert (live.serial, live.revision) == (before.serial + 1, head)
            assert (await here.condition(ConditionType.READY)).status
        assert here.said.getvalue().count("nothing to change") == 2


async def test_what_stays_is_followed_beside_what_changes(tmp_path: Path) -> None:
    async with followed(tmp_path) as here:
        here.repository.pools("linux", "mac")
        await here.look()
        here.repository.git("mv", "pool-mac.yaml", "apple.yaml")
        here.repository.write("pool-bsd.yaml", "apiVersion: reconciler/v1\nkind: WorkerPool\nmetadata: {name: bsd}\n")
        here.repository.commit("Rename and add")
        await here.look()
        assert await here.pools() == {"bsd", "linux", "mac"}
        assert (await here.live()).objects[Address("WorkerPool", "mac")].position.file == "apple.yaml"
        for _ in range(2):
            await here.controller.turn()
        assert (await here.condition(ConditionType.READY)).status


def test_apply_follows_places_where_nothing_else_changes(tmp_path: Path) -> None:
    place = Workplace(tmp_path / "space")
    place.write("pool.yaml", POOL % "linux")
    place.apply()
    (place.root / "pool.yaml").rename(place.root / "linux.yaml")
    assert "No changes." in place.apply().out
    assert "WorkerPool/linux is declared at linux.yaml:1, applied" in place.run("why", "WorkerPool/linux").expect(0).out
    place.write("linux.yaml", BROKEN)
    assert "linux.yaml:1:" in place.run("plan").expect(1).err
