"""The trail from the command line: what was live, a download that goes on, a feed."""

import json

import pytest

from gatehouse_cli import client
from tests.gatehouse_cli.test_client import Portal, portal  # noqa: F401

ID = "01900000-0000-7000-8000-000000000000"
HEAD, END = b'{"events":3,"format":"gatehouse-audit-lines/1"}\n', b'{"end":true,"events":3}\n'
LINES = [b'{"leaf_index":%d,"path":[],"event":{"n":"%s"}}\n' % (n, b"x" * 2000) for n in range(3)]


def told(kind, **more):
    return {"id": ID, "kind": kind, "size_bytes": None} | more


def test_as_of_asks_for_a_moment_and_a_use_case(portal: Portal, capsys):  # noqa: F811
    portal.will({"results": [{"endpoint": "care-pilot"}], "next": None})
    assert client.main(["asof", "2026-11-01T12:00Z", "--usecase", "care"]) == client.DONE
    assert json.loads(capsys.readouterr().out) == [{"endpoint": "care-pilot"}]
    assert portal.asked[0][1].startswith("/api/v1/asof/?at=2026-11-01T12%3A00Z&usecase=care")


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        (b"", ""), (HEAD[:9], ""), (HEAD, ""), (HEAD + LINES[0][:50], ""), (HEAD + LINES[0], "?after=0"),
        (HEAD + LINES[0] + LINES[1] + LINES[2][:1500], "?after=1"), (HEAD + b"".join(LINES), "?after=2"),
        (HEAD + b"".join(LINES) + END[:5], "?after=2"),
    ],
)  # fmt: skip
def test_a_download_goes_on_after_the_last_whole_line(portal: Portal, tmp_path, there, asked):  # noqa: F811
    path = tmp_path / "trail.jsonl"
    path.write_bytes(there)
    whole = HEAD + b"".join(LINES) + END
    kept = whole[: len(HEAD) + len(LINES[0]) * (int(asked[-1]) + 1)] if asked else b""
    portal.will(told("jsonl"))
    portal.will(whole[len(kept) :], Content_Type="application/x-ndjson")
    assert client.main(["audit", "download", ID, "--output", str(path)]) == client.DONE
    assert path.read_bytes() == whole and portal.asked[1][1] == f"/api/v1/audit/downloads/{ID}/content/{asked}"


def test_a_whole_download_is_not_taken_again(portal: Portal, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "trail.jsonl"
    path.write_bytes(HEAD + b"".join(LINES) + END)
    portal.will(told("jsonl"))
    assert client.main(["audit", "download", ID, "--output", str(path)]) == client.DONE
    assert json.loads(capsys.readouterr().out)["complete"] and len(portal.asked) == 1


def test_a_pack_goes_on_by_its_bytes_and_a_short_one_is_no_success(portal: Portal, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "pack.zip"
    path.write_bytes(b"abc")
    portal.will(told("pack", size_bytes=6))
    portal.will(b"de", 206, Content_Type="application/zip")
    assert client.main(["audit", "download", ID, "--output", str(path)]) == client.REFUSED
    assert "run the same command again" in capsys.readouterr().err and portal.asked[1][2]["Range"] == "bytes=3-"
    portal.will(told("pack", size_bytes=6))
    portal.will(b"f", 206, Content_Type="application/zip")
    assert client.main(["audit", "download", ID, "--output", str(path)]) == client.DONE
    assert path.read_bytes() == b"abcdef"


def test_a_table_that_is_there_is_not_gone_on_with(portal: Portal, tmp_path, capsys):  # noqa: F811
    path = tmp_path / "trail.csv"
    path.write_bytes(b"leaf_index,id\r\n")
    portal.will(told("csv"))
    assert client.main(["audit", "download", ID, "--output", str(path)]) == client.USAGE
    assert "remove it" in capsys.readouterr().err and path.read_bytes() == b"leaf_index,id\r\n"


def test_the_feed_prints_a_line_an_event_and_stops_when_nothing_waits(portal: Portal, capsys):  # noqa: F811
    portal.will({"events": [{"leaf_index": 0, "event": {}}], "next_after": 0, "sealed": 2})
    portal.will({"events": [{"leaf_index": 1, "event": {}}], "next_after": 1, "sealed": 2})
    assert client.main(["audit", "feed"]) == client.DONE
    assert [json.loads(line)["leaf_index"] for line in capsys.readouterr().out.splitlines()] == [0, 1]
    assert "after" not in portal.asked[0][1] and "after=0" in portal.asked[1][1]


def test_a_pack_is_waited_for(portal: Portal, capsys):  # noqa: F811
    portal.will({"id": "0190"})
    portal.will({"id": ID, "state": "waiting"}, 201)
    portal.will({"id": ID, "state": "ready"})
    assert client.main(["audit", "request", "--kind", "pack", "--usecase", "care", "--wait"]) == client.DONE
    assert portal.asked[1][3] == {"kind": "pack", "usecase_id": "0190"}
