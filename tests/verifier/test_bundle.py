"""Bundles are made here by hand, from the documented format alone; forged ones prove nothing."""

import base64
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from verifier.__main__ import main
from verifier.merkle import Tree

ROOT = Path(__file__).resolve().parents[2]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ORIGIN = "tests/audit"
USECASE = "u-1"
COUNT = 13


def text(number: int) -> bytes:
    return json.dumps({"n": number, "usecase_id": USECASE if number % 3 == 0 else None}, separators=(",", ":")).encode()


def hash_leaf(number: int) -> bytes:
    return hashlib.sha256(b"\x00" + text(number)).digest()


def root(start: int, end: int) -> bytes:
    """RFC 6962, straight from its definition."""
    if end - start == 1:
        return hash_leaf(start)
    split = start + (1 << (end - start - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + root(start, split) + root(split, end)).digest()


def path(index: int, start: int, end: int) -> list[bytes]:
    if end - start == 1:
        return []
    split = start + (1 << (end - start - 1).bit_length() - 1)
    if index < split:
        return [*path(index, start, split), root(split, end)]
    return [*path(index, split, end), root(start, split)]


def note(size: int, *, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN, fake_root: bytes | None = None) -> str:
    body = f"{origin}\n{size}\n{base64.b64encode(fake_root or root(0, size)).decode()}\nsealed_at 2026-03-01T00:00:00Z\n"
    public = key.public_key().public_bytes_raw()
    identity = hashlib.sha256(origin.encode() + b"\n\x01" + public).digest()[:4]
    return f"{body}\n\u2014 {origin} {base64.b64encode(identity + key.sign(body.encode())).decode()}\n"


def keys(key: Ed25519PrivateKey = KEY) -> str:
    public = base64.b64encode(key.public_key().public_bytes_raw()).decode()
    return json.dumps({"keys": [{"key_id": "x", "purpose": "seal", "public": public}]})


def parts(indexes: list[int] | None, **changes: bytes) -> dict[str, bytes]:
    """The files of an honest bundle: of the whole trail, or of some events with proofs."""
    chosen = range(COUNT) if indexes is None else indexes
    files = {"events.jsonl": b"".join(text(i) + b"\n" for i in chosen)}
    if indexes is not None:
        proofs = [{"leaf_index": i, "path": [base64.b64encode(s).decode() for s in path(i, 0, COUNT)]} for i in indexes]
        files["proofs.jsonl"] = b"".join(json.dumps(p).encode() + b"\n" for p in proofs)
    files |= {name.replace("_", "."): data for name, data in changes.items()}
    scope = {"kind": "trail"} if indexes is None else {"kind": "usecase", "usecase_id": USECASE}
    manifest = {
        "format": "gatehouse-audit-bundle/1",
        "scope": scope,
        "events": len(chosen),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    }
    signed = {"checkpoint": note(COUNT).encode(), "seal-public-key.json": keys().encode()}
    return files | signed | {"manifest.json": json.dumps(manifest).encode()}


@pytest.fixture
def check(tmp_path, capsys):
    """check(files, witness=13) -> (exit code, report) against the witness's checkpoint of that size, or none."""
    folder = tmp_path / "witness"
    folder.mkdir()
    (folder / "seal-public-key.json").write_text(keys())
    (folder / "checkpoints.jsonl").write_text(
        "".join(json.dumps({"tree_size": n, "note": note(n)}) + "\n" for n in (5, 9, COUNT)) + '{"cut short'
    )

    def run(files, *arguments, witness=COUNT, **signing):
        bundle = tmp_path / "bundle.zip"
        with zipfile.ZipFile(bundle, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        extra = []
        if witness:
            (folder / "latest").write_text(note(witness, **signing))
            extra = ["--checkpoint", str(folder / "latest")]
        code = main(["--bundle", str(bundle), "--json", *extra, *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_the_reference_tree_of_these_tests_is_the_verifier_s():
    tree = Tree()
    tree.extend([hash_leaf(n) for n in range(COUNT)])
    assert tree.root() == root(0, COUNT)


def test_a_whole_trail_with_a_witness_is_zero(check):
    for size in (1, 5, 9, COUNT):
        code, report = check(parts(None), witness=size)
        assert code == 0 and report["scope"] == "whole trail" and report["witness_tree_size"] == size and report["events"] == COUNT


def test_single_events_and_ranges_are_never_the_whole(check):
    assert check(parts([0, 3, 6, 9, 12]))[0] == 6
    files = parts([3])
    assert check(files)[0] == 6
    manifest = json.loads(files["manifest.json"])
    code, report = check(files | {"manifest.json": json.dumps(manifest | {"scope": {"kind": "trail"}}).encode()})
    assert code == 1 and "covers 13 events" in report["problems"][0]


def test_consecutive_events_are_a_range(check):
    files = parts(list(range(4, 9)))
    manifest = json.loads(files["manifest.json"]) | {"scope": {"kind": "events"}}
    code, report = check(files | {"manifest.json": json.dumps(manifest).encode()})
    assert code == 4 and (report["first_leaf"], report["last_leaf"]) == (4, 8) and "a range" in report["proved"]
    assert check(files | {"manifest.json": json.dumps(manifest).encode()}, "--public-key", "PUBLIC", witness=None)[0] == 2


def test_neighbouring_events_of_a_use_case_are_single_events(check):
    same = [json.dumps({"n": n, "usecase_id": "u-2"}).encode() for n in (0, 1)]
    leaves = [hashlib.sha256(b"\x00" + event).digest() for event in same]
    top = hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).digest()
    proofs = [{"leaf_index": n, "path": [base64.b64encode(leaves[1 - n]).decode()]} for n in (0, 1)]
    manifest = {"format": "gatehouse-audit-bundle/1", "scope": {"kind": "usecase", "usecase_id": "u-2"}, "events": 2}
    bundle = {
        "events.jsonl": b"".join(event + b"\n" for event in same),
        "proofs.jsonl": b"".join(json.dumps(p).encode() + b"\n" for p in proofs),
        "manifest.json": json.dumps(manifest).encode(),
        "checkpoint": note(2, fake_root=top).encode(),
        "seal-public-key.json": keys().encode(),
    }
    assert check(bundle, witness=2, fake_root=top)[0] == 6


def test_it_starts_from_any_folder(tmp_path):
    done = subprocess.run([sys.executable, str(ROOT / "verifier"), "--help"], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0 and "exit codes" in done.stdout


def test_without_a_witness_the_codes_are_others(check, tmp_path):
    own = ["--public-key", str(tmp_path / "witness" / "seal-public-key.json")]
    assert check(parts(None), *own, witness=None)[0] == 3
    assert check(parts([0, 3]), *own, witness=None)[0] == 7
    code, report = check(parts(None), witness=None)
    assert code == 3 and "out of the bundle itself" in report["notes"][0]


def test_a_witness_of_another_size_counts_only_if_its_log_holds_the_bundle_s_checkpoint(check, tmp_path):
    assert check(parts([0, 3]), witness=9)[0] == 6
    (tmp_path / "witness" / "checkpoints.jsonl").unlink()
    code, report = check(parts([0, 3]), witness=9)
    assert code == 7 and report["witnessed"] is False and "covers 9 events" in " ".join(report["notes"])


def test_a_witness_that_disagrees_breaks_it(check):
    for files in (parts(None), parts([0, 3])):
        code, _ = check(files, fake_root=bytes(32))
        assert code == 1
    code, report = check(parts([0, 3]), origin="other/audit")
    assert code == 1 and "of the trail" in report["problems"][0]


@pytest.mark.parametrize(
    "change",
    [
        {"events_jsonl": text(0).replace(b"0", b"7") + b"\n" + text(3) + b"\n"},
        {"events_jsonl": text(3) + b"\n" + text(0) + b"\n"},
        {"events_jsonl": text(0) + b"\n"},
        {"events_jsonl": text(0) + b"\n" + text(3) + b"\n" + text(6) + b"\n"},
        {"events_jsonl": text(0) + b"\r\n" + text(3) + b"\n"},
        {"proofs_jsonl": b"\n\n"},
        {"proofs_jsonl": b'{"leaf_index":0,"path":[]}\n{"leaf_index":3,"path":[]}\n'},
        {"proofs_jsonl": b'{"leaf_index":true,"path":[]}\n[]\n'},
    ],
)
def test_altered_events_and_proofs_are_found_even_when_the_manifest_agrees(check, change):
    code, report = check(parts([0, 3], **change))
    assert code == 1 and report["verified"] is False


def test_an_event_given_twice_or_of_another_use_case_is_found(check):
    assert "out of order or stands twice" in check(parts([3, 3]))[1]["problems"][0]
    assert "another use case" in check(parts([3, 4]))[1]["problems"][0]


def test_a_manifest_that_does_not_fit_is_found(check):
    files = parts([0, 3])
    manifest = json.loads(files["manifest.json"])
    assert check(files | {"manifest.json": json.dumps(manifest | {"events": 3}).encode()})[0] == 1
    manifest["files"]["events.jsonl"] = "00"
    assert check(files | {"manifest.json": json.dumps(manifest).encode()})[0] == 1


def test_a_bundle_signed_by_somebody_else_is_found(check):
    thief = Ed25519PrivateKey.generate()
    forged = parts(None) | {"checkpoint": note(COUNT, key=thief).encode(), "seal-public-key.json": keys(thief).encode()}
    assert check(forged)[0] == 1
    code, report = check(forged, witness=None)
    assert code == 3 and report["notes"], "without a key of one's own a forgery cannot be told; the report says whose key it believed"


@pytest.mark.parametrize("missing", ["manifest.json", "checkpoint", "events.jsonl", "proofs.jsonl"])
def test_a_bundle_that_lacks_a_part_cannot_be_used(check, missing):
    files = parts([0, 3])
    del files[missing]
    code, report = check(files)
    assert code == 2 and missing in report["problems"][0]


def test_what_is_no_bundle_or_no_checkpoint_is_refused(tmp_path, capsys):
    junk = tmp_path / "junk"
    junk.write_bytes(b"PK\x03\x04 not really")
    (tmp_path / "seal-public-key.json").write_text(keys())
    assert main(["--bundle", str(junk)]) == 2
    assert main(["--bundle", str(tmp_path / "absent.zip")]) == 2
    assert main(["--bundle", str(junk), "--checkpoint", str(tmp_path / "absent")]) == 2
    assert main(["--bundle", str(junk), "--checkpoint", str(junk)]) in (1, 2)
    assert main(["--database-url", "postgresql://127.0.0.1:1/x"]) == 2
    with pytest.raises(SystemExit) as stop:
        main([])
    assert stop.value.code == 2
    assert "Nothing was verified" in capsys.readouterr().err


def test_it_runs_with_nothing_but_python_and_cryptography(tmp_path):
    """In a process where Django, the portal and psycopg cannot be imported."""
    bundle = tmp_path / "bundle.zip"
    with zipfile.ZipFile(bundle, "w") as archive:
        for name, data in parts(None).items():
            archive.writestr(name, data)
    (tmp_path / "latest").write_text(note(COUNT))
    (tmp_path / "seal-public-key.json").write_text(keys())
    program = (
        "import sys\n"
        "for name in ('django', 'apps', 'portal', 'psycopg', 'celery_worker', 'gateway'): sys.modules[name] = None\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from verifier.__main__ import main\n"
        f"sys.exit(main(['--bundle', {str(bundle)!r}, '--checkpoint', {str(tmp_path / 'latest')!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False, env={}, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the whole trail" in done.stdout
    live = program.replace(f"'--bundle', {str(bundle)!r}", "'--database-url', 'postgresql://127.0.0.1:1/x'")
    done = subprocess.run([sys.executable, "-I", "-c", live], capture_output=True, text=True, check=False, env={}, cwd=tmp_path)
    assert done.returncode == 2 and "psycopg is not installed" in done.stderr
