"""What the scan says of files: opcodes are read, nothing is loaded."""

import bz2
import gzip
import io
import os
import pickle
import pickletools
import zipfile
import zlib

import numpy as np
import pytest
from django.db import IntegrityError, connection, transaction

from apps.core.errors import NotAllowed
from apps.core.evidence import EvidenceSubject
from apps.registry import services
from apps.registry.evidence import CHECKS
from apps.registry.models import ArtifactScan
from apps.registry.rules import scan
from tests.registry.conftest import FILES
from tests.registry.world import make_version


class Harm:
    """Runs a command when it is unpickled."""

    def __init__(self, function=os.system, *arguments):
        self.how = (function, arguments or ("true",))

    def __reduce__(self):
        return self.how


def levels(data, path="model.pkl"):
    return {f["level"] for f in scan.findings_in(path, io.BytesIO(data))}


def told(data, path="model.pkl"):
    return " ".join(f["what"] for f in scan.findings_in(path, io.BytesIO(data)))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("harm", [Harm(), Harm(eval, "1"), Harm(getattr, {}, "keys")], ids=["system", "eval", "getattr"])
def test_a_pickle_that_runs_something_is_unsafe_in_every_protocol(protocol, harm):
    assert "unsafe" in levels(pickle.dumps(["harmless", harm], protocol=protocol))


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zlib.compress])
def test_a_packed_pickle_is_unpacked_and_read(pack):
    assert "posix.system" in told(pack(pickle.dumps(Harm())), "model.joblib")


def test_a_second_pickle_in_the_same_file_and_one_with_another_name_are_found():
    assert "unsafe" in levels(pickle.dumps({"a": 1}) + pickle.dumps(Harm()))
    assert "unsafe" in levels(pickle.dumps(Harm()), "weights.bin")


def test_a_memoised_name_does_not_hide_what_is_imported():
    built = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x30\x30h\x00h\x01\x93\x8c\x04true\x85R."
    assert [o.name for o, _, _ in pickletools.genops(built)][-1] == "STOP"
    assert "unsafe" in levels(built)


def test_archives_and_arrays_of_objects_are_looked_into():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Harm()))
        archive.writestr("archive/readme.txt", "fine")
    assert "unsafe" in levels(file.getvalue(), "model.pt")
    plain, objects = io.BytesIO(), io.BytesIO()
    np.save(plain, np.arange(5))
    np.save(objects, np.array([Harm()], dtype=object), allow_pickle=True)
    assert levels(plain.getvalue(), "a.npy") == set() and "unsafe" in levels(objects.getvalue(), "a.npy")


def test_what_models_are_made_of_is_only_noted_and_unknown_names_are_a_warning():
    assert levels(pickle.dumps({"w": np.arange(3.0)})) == {"note"}
    assert "warning" in levels(b"cmystery\nThing\n.") and "unsafe" not in levels(b"cmystery\nThing\n.")
    assert levels(b"not a pickle at all", "model.pkl") == {"warning"} and levels(b"", "x.pkl") == {"warning"}
    assert "could not be read to its end" in told(pickle.dumps([1, 2, 3])[:-2] + b"\xff\xff")


@pytest.mark.parametrize(
    ("path", "kind", "safe"),
    [("model.safetensors", "safetensors", True), ("MLmodel", "text", True), ("model.skops", "skops", True), ("code/x.py", "code", False), ("model.pkl", "pickle", False), ("blob", "other", False), ("m.PT", "torch", False)],
)  # fmt: skip
def test_kinds(path, kind, safe):
    assert scan.kind_of(path) == (kind, safe)


@pytest.mark.django_db
def test_control_scans_what_was_read_once_and_tells_the_trail(ready, events):
    row = ready(files={**FILES, "model.pkl": pickle.dumps(Harm())})
    made = services.scan_version(name=row.model.name, version=1)
    assert made.verdict == "unsafe" and {f["path"] for f in made.files} == {"MLmodel", "requirements.txt", "data/weights.bin", "model.pkl"}
    assert made.signature == {"state": "none"} and events("registry.artifact.scanned", row.label)[0].facts["after"]["verdict"] == "unsafe"
    assert services.scan_version(name=row.model.name, version=1) is None and ArtifactScan.objects.count() == 1


@pytest.mark.django_db
def test_a_reading_asks_for_a_scan(ready):
    from apps.outbox.models import Message

    row = ready()
    assert {"name": row.model.name, "version": 1} in [m.body for m in Message.objects.filter(topic="registry.scan")]


def record(version, actor, findings=(), **more):
    return services.record_scan(
        actor=actor,
        version_id=version.id,
        digest=version.artifact_digest,
        files=[],
        findings=list(findings),
        signature={"state": "none"},
        **more,
    )


@pytest.mark.django_db
def test_a_gate_reads_the_scan(system):
    def run(**parameters):
        return CHECKS["registry.artifact_scanned"].run(EvidenceSubject(usecase_id="", model_version_id=str(version.id)), parameters)

    version = make_version()
    assert run().state == "missing"
    record(version, system, detail="The artifact store answered 500.")
    assert run().state == "missing" and "500" in run().detail
    record(
        version,
        system,
        [
            {"path": "model.pkl", "level": "note", "what": "It is a pickle: loading it runs what it says."},
            {"path": "model.pkl", "level": "warning", "what": "x.y is not known to be harmless."},
        ],
    )
    assert run().state == "pass" and run(allow_pickle=False).state == "fail" and run(allow_warnings=False).state == "fail"
    other = make_version("other", 1)
    record(other, system, [{"path": "m.pkl", "level": "unsafe", "what": "posix.system would be imported and may run anything."}])
    version = other
    assert run().state == "fail" and "posix.system" in run().detail


@pytest.mark.django_db
def test_the_database_keeps_a_scan_as_it_was(system):
    record(make_version(), system)
    with pytest.raises(IntegrityError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("UPDATE registry_artifactscan SET verdict = 'clean'")


@pytest.mark.django_db
def test_who_may_ask_for_one(make_user, actor_of, api):
    version = make_version()
    with pytest.raises(NotAllowed):
        services.request_scan(actor=actor_of(make_user("auditor")), version_id=version.id)
    at = "/api/v1/models/care-outreach/versions/1/scans/"
    client = api(make_user("ml_engineer"))
    assert client.post(at).status_code == 202 and client.get(at).json()["results"] == []
    assert api(make_user("stakeholder")).get(at).status_code == 404
