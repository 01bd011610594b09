import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ct_vae.errors import CtVaeError, InputError, OutputError
from ct_vae.io import archive
from ct_vae.io.archive import extracted, is_archive
from ct_vae.io.walk import walk_files

MEMBERS = {"a/b.dcm": b"x" * 1000, "a/c": b"second", "d é.dcm": b"third"}


@pytest.fixture(autouse=True)
def temp(tmp_path, monkeypatch):
    folder = tmp_path / "temp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    yield folder
    assert not list(folder.iterdir())


def zipped(path, members=None, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in (members or MEMBERS).items():
            file.writestr(name, content)
    return path


def tarred(path, members=None, mode="w"):
    with tarfile.open(path, mode) as file:
        for name, content in (members or MEMBERS).items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def linked(path, kind, target="/etc/passwd"):
    with tarfile.open(path, "w") as file:
        info = tarfile.TarInfo("innocent")
        info.type, info.linkname = kind, target
        file.addfile(info)
    return path


def contents(path):
    with extracted(path) as folder:
        return sorted(each.read_bytes() for each in walk_files(folder))


def refusal(path):
    with pytest.raises(InputError) as caught, extracted(path):
        pass
    return str(caught.value)


def forms(folder):
    yield zipped(folder / "a")
    yield zipped(folder / "stored", method=zipfile.ZIP_STORED)
    for mode in ("w", "w:gz", "w:xz", "w:bz2"):
        yield tarred(folder / mode.replace(":", "_"), mode=mode)


def test_every_kind_is_known_by_content_and_unpacked(tmp_path):
    for path in forms(tmp_path):
        assert is_archive(path)
        assert contents(path) == sorted(MEMBERS.values())


def test_other_files_are_no_archives(tmp_path):
    for content in (b"", b"hello", bytes(2000), gzip.compress(b"x" * 3000), b"\x1f\x8b"):
        path = tmp_path / "file"
        path.write_bytes(content)
        assert not is_archive(path)


def test_names_of_members_never_reach_the_disk(tmp_path):
    path = zipped(tmp_path / "a", {"Doe^Jane/x.dcm": b"1", "é" * 200: b"2", "con/aux.dcm": b"3"})
    with extracted(path) as folder:
        for found in folder.rglob("*"):
            assert found.name.removesuffix(".dcm").isdigit()


def test_folders_are_kept_apart_and_hidden_files_left_out(tmp_path):
    members = {"a/x": b"1", "b/x": b"2", "a/y": b"3", "__MACOSX/._x": b"4", ".hidden/x": b"5"}
    with extracted(zipped(tmp_path / "a", members)) as folder:
        found = [sorted(p.read_bytes() for p in sub.iterdir()) for sub in sorted(folder.iterdir())]
    assert found == [[b"1", b"3"], [b"2"]]


def test_one_name_twice_is_two_files(tmp_path):
    path = tmp_path / "a"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x", b"1")
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x", b"2")
    assert contents(path) == [b"1", b"2"]


@pytest.mark.parametrize(
    "name", ["../x", "a/../../x", "/etc/x", "C:\\x", "c:x", "..\\x", "a\\..\\..\\x", "..", "a/.."]
)
@pytest.mark.parametrize("make", [zipped, tarred])
def test_members_that_lead_outside_are_refused_before_any_is_used(tmp_path, name, make):
    path = make(tmp_path / "a", {"good": b"1", name: b"evil"})
    assert "leads out of its folder" in refusal(path)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
)
def test_links_and_devices_are_refused(tmp_path, kind):
    assert "a link or a device" in refusal(linked(tmp_path / "a", kind))


def test_links_in_zip_files_are_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a", "w") as file:
        file.writestr(info, "/etc/passwd")
    assert "a link or a device" in refusal(tmp_path / "a")


@pytest.mark.parametrize("make", ["zip", "w:gz", "w:xz", "w:bz2"])
def test_bombs_are_stopped_while_they_are_unpacked(tmp_path, monkeypatch, make):
    monkeypatch.setattr(archive, "_FREE_OF_RATIO", 1 << 20)
    bomb = {"a": bytes(1 << 24)}
    path = tmp_path / "a"
    zipped(path, bomb) if make == "zip" else tarred(path, bomb, make)
    assert "unpacks to more than" in refusal(path)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_bomb_in_what_describes_a_member_is_stopped_as_well(tmp_path, monkeypatch, mode):
    monkeypatch.setattr(archive, "_FREE_OF_RATIO", 1 << 20)
    info = tarfile.TarInfo("innocent")
    info.pax_headers = {"comment": "x" * (1 << 23)}
    with tarfile.open(tmp_path / "a", mode) as file:
        file.addfile(info)
    assert "unpacks to more than" in refusal(tmp_path / "a")


def test_too_many_members_and_bytes_are_refused(tmp_path, monkeypatch):
    paths = list(forms(tmp_path))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    for path in paths:
        assert "more than 2 members" in refusal(path)
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    monkeypatch.setattr(archive, "MAX_BYTES", 1010)
    for path in paths:
        assert "unpacks to more than" in refusal(path)


def test_too_many_members_are_counted_before_any_is_unpacked(tmp_path, monkeypatch):
    paths = list(forms(tmp_path))
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    monkeypatch.setattr(archive._Unpacking, "write", None)
    for path in paths:
        assert "more than 2 members" in refusal(path)
    # A large compressed one is not read twice.
    monkeypatch.undo()
    monkeypatch.setattr(archive, "MAX_MEMBERS", 2)
    monkeypatch.setattr(archive, "_COUNTED_BYTES", 0)
    assert "more than 2 members" in refusal(tarred(tmp_path / "large", mode="w:gz"))


def test_without_a_temporary_folder_nothing_is_unpacked_and_the_code_is_that_of_disks(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    path = zipped(tmp_path / "a.zip")
    with pytest.raises(OutputError, match="cannot create a temporary folder") as caught:
        contents(path)
    assert "TMPDIR" in caught.value.hint
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))


def test_a_false_size_in_a_zip_header_is_no_way_round_the_caps(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "_FREE_OF_RATIO", 1 << 20)
    path = zipped(tmp_path / "a", {"a": bytes(1 << 24)})
    content = path.read_bytes()
    true, false = (1 << 24).to_bytes(4, "little"), (10).to_bytes(4, "little")
    path.write_bytes(content.replace(true, false))
    refusal(path)


def test_encrypted_members_are_refused(tmp_path):
    path = zipped(tmp_path / "a", {"a": b"x"})
    content = bytearray(path.read_bytes())
    content[6] |= 1
    content[content.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(content)
    assert "is encrypted" in refusal(path)


def test_cut_archives_are_refused(tmp_path):
    for path in forms(tmp_path):
        content = path.read_bytes()
        # A plain tar archive ends in blocks of zeros that nobody needs.
        for end in (900, 1300) if path.name == "w" else (len(content) // 2, len(content) - 9):
            path.write_bytes(content[:end])
            if is_archive(path):
                assert "archive" in refusal(path)


def test_a_tar_archive_cut_anywhere_gives_all_of_its_files_or_none(tmp_path):
    """It has no checksum over its end: the block of zeros that is due there has to tell."""
    path = tarred(tmp_path / "a")
    content = path.read_bytes()
    end_of_files = -(-len(content.rstrip(b"\0")) // 512) * 512
    for end in {*range(512, len(content) + 1, 97), *range(512, len(content) + 1, 512)}:
        path.write_bytes(content[:end])
        if end < end_of_files + 512:
            assert "damaged" in refusal(path)
        else:
            assert contents(path) == sorted(MEMBERS.values())


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_a_second_archive_behind_the_first_is_not_passed_over(tmp_path, mode):
    first = tarred(tmp_path / "a", mode=mode)
    second = tarred(tmp_path / "b", {"more": b"x" * 30000}, mode)
    first.write_bytes(first.read_bytes() + second.read_bytes())
    assert "has data after its end" in refusal(first)


def test_a_damaged_header_within_a_tar_archive_is_refused(tmp_path):
    path = tarred(tmp_path / "a")
    content = bytearray(path.read_bytes())
    second = 512 * 3
    for place in range(second, second + 512, 37):
        changed = content.copy()
        changed[place] ^= 4
        path.write_bytes(changed)
        assert "damaged" in refusal(path)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_flipped_bit_never_gives_other_files(tmp_path, mode):
    path = tarred(tmp_path / "a", mode=mode)
    content = path.read_bytes()
    for bit in range(80, len(content) * 8, 37):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = contents(path)
        except CtVaeError:
            continue
        assert found == sorted(MEMBERS.values())


@given(st.data())
def test_any_damage_raises_nothing_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    for path in forms(folder):
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            start = data.draw(st.integers(0, len(content)))
            content[start : start + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
        path.write_bytes(content)
        try:
            if is_archive(path):
                contents(path)
        except CtVaeError:
            continue


def test_the_folder_is_removed_when_its_user_fails(tmp_path, temp):
    def use():
        with extracted(zipped(tmp_path / "a")) as folder:
            assert folder.parent == temp
            raise RuntimeError("user")

    with pytest.raises(RuntimeError, match="user"):
        use()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_an_output_error(tmp_path, monkeypatch):
    opened = Path.open

    def on_a_full_disk(path, mode="r", *args):
        if mode == "xb":
            return opened(Path("/dev/full"), "wb", 0)
        return opened(path, mode, *args)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    for path in forms(tmp_path):
        with pytest.raises(OutputError, match="No space left"), extracted(path):
            pass


def test_a_block_without_checksum_is_no_tar_although_its_bytes_cancel_out(tmp_path):
    block = bytearray(512)
    # Eight spaces count in place of the checksum; signed bytes of -32 take them back.
    block[:8] = bytes([256 - 32]) * 8
    block[156:160] = b"\0\0\0\0"
    (tmp_path / "a").write_bytes(block)
    assert not is_archive(tmp_path / "a")
