"""Verifies a live database: every event, its place, its columns, every checkpoint, and what no checkpoint covers yet."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from operator import itemgetter
from typing import Any

import psycopg

from verifier.checkpoint import Checkpoint, NotSealed, parse
from verifier.merkle import Tree, leaf_hash
from verifier.report import Unreachable, Verdict

Rows = list[tuple[Any, ...]]
BLOCK = 8192
POLL_S = 0.5
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # decode() without its two regular expressions
_ACTOR = itemgetter("kind", "id", "label", "on_behalf_of")
_OBJECT = itemgetter("type", "id", "label")
_REST = itemgetter("usecase_id", "decision_id", "request_id")

TABLES = ("audit_event", "audit_leaf", "audit_checkpoint")
MOMENT = """to_char(e.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
# The three parts of an event's text that its columns stand in, put together from the columns as if nothing in them had to be escaped.
LEAVES = f"""
SELECT l.leaf_index, l.leaf_hash, convert_to(e.payload, 'UTF8'), convert_to(
         '{{"action":"' || e.action || '","actor":{{"id":"' || e.actor_id || '","kind":"' || e.actor_kind || '","label":"' || e.actor_label
         || '","on_behalf_of":"' || e.on_behalf_of || '"}},"after":', 'UTF8'), convert_to(
         ',"decision_id":' || coalesce('"' || e.decision_id || '"', 'null') || ',"id":"' || l.event_id || '","object":{{"id":"' || e.object_id
         || '","label":"' || e.object_label || '","type":"' || e.object_type || '"}},"occurred_at":"' || {MOMENT} || '","reason":"', 'UTF8'),
       convert_to('","request_id":"' || e.request_id || '","usecase_id":' || coalesce('"' || e.usecase_id || '"', 'null') || ',"v":1}}', 'UTF8')
FROM audit_leaf l LEFT JOIN audit_event e ON e.id = l.event_id
WHERE l.leaf_index > %s ORDER BY l.leaf_index LIMIT {BLOCK}
"""  # noqa: S608
COLUMNS = f"""
SELECT l.leaf_index, l.leaf_hash, e.payload, l.event_id::text, {MOMENT},
       e.action, e.actor_kind, e.actor_id, e.actor_label, e.on_behalf_of,
       e.object_type, e.object_id, e.object_label, e.usecase_id, e.decision_id, e.request_id
FROM audit_leaf l LEFT JOIN audit_event e ON e.id = l.event_id
WHERE l.leaf_index = ANY (%s) ORDER BY l.leaf_index
"""  # noqa: S608
CHECKPOINTS = "SELECT tree_size, root, note FROM audit_checkpoint ORDER BY tree_size"
UNSEALED = "SELECT e.id FROM audit_event e WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = e.id) LIMIT 100000"
STILL_UNSEALED = "SELECT count(*) FROM unnest(%s::uuid[]) AS w(id) WHERE NOT EXISTS (SELECT 1 FROM audit_leaf l WHERE l.event_id = w.id)"
GUARDED = """
SELECT c.relname FROM pg_class c JOIN pg_trigger t ON t.tgrelid = c.oid
WHERE c.oid = ANY (ARRAY['public.audit_event'::regclass, 'public.audit_leaf'::regclass, 'public.audit_checkpoint'::regclass])
  AND t.tgenabled = 'A' AND t.tgtype & 56 = 56 GROUP BY c.relname
"""
# Whoever asks could be shown other rows: by a policy on the table, or by a table of the same name that a search path finds first.
FILTERED = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%s) AND relrowsecurity"
NAMESAKES = """
SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY (%s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname <> 'public' AND n.nspname NOT LIKE 'pg\\_temp%%' ORDER BY 1
"""


def columns_of(payload: str) -> tuple[Any, ...]:
    """What the query columns have to say, from the text that was hashed; raises ValueError, KeyError, TypeError or StopIteration."""
    event, end = _scan(payload, 0)
    if end != len(payload):
        raise ValueError("there is something after the event")
    return (event["id"], event["occurred_at"], event["action"], *_ACTOR(event["actor"]), *_OBJECT(event["object"]), *_REST(event))


def says_the_same(payload: bytes, prefix: bytes, middle: bytes, suffix: bytes) -> bool:
    """Whether the text holds these parts where they belong, beyond doubt; False means that it has to be read.

    Where the text escapes no quotation mark no value holds one, and a value without a backslash is what is written. Then the middle is the
    last part to begin as it does, between it and the end stands a reason alone, and neither can be cut into values in two ways. The beginning
    could, as `before` and `after` hold anything, were it not for the number of its quotation marks.
    """
    at = payload.rfind(b',"decision_id":')
    return (
        payload.startswith(prefix)
        and payload.startswith(middle, at)
        and payload.find(b'"', at + len(middle)) == len(payload) - len(suffix)
        and payload.endswith(suffix)
        and (b"\\" not in payload or (b"\\" not in prefix + middle + suffix and b'\\"' not in payload))
        and prefix.count(b'"') == 24
    )


class DatabaseCheck:
    """One verification of one database."""

    def __init__(self, url: str, *, witness: Checkpoint | None, keys: list[bytes], wait_s: float) -> None:
        self.url, self.witness, self.keys, self.wait_s = url, witness, keys, wait_s
        self.verdict = Verdict(witnessed=witness is not None, witness_size=witness.size if witness else None)
        self.tree = Tree()
        self.walked = 0
        self._roots_broken = False
        self._origin = witness.origin if witness else None

    def run(self) -> Verdict:
        """Do it; raises Unreachable."""
        try:
            with psycopg.connect(self.url, autocommit=True, application_name="gatehouse-verifier", connect_timeout=10) as conn:
                conn.execute("SET search_path = public")
                conn.execute("SET statement_timeout = 0")
                lasting = self._wait_for_sealer(conn)
                conn.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
                conn.read_only = True
                conn.autocommit = False
                with conn.transaction():
                    self._check_snapshot(conn)
                self.verdict.unsealed = lasting
                return self.verdict
        except psycopg.Error as error:
            reason = getattr(error.diag, "message_primary", None) or type(error).__name__
            raise Unreachable(f"the database cannot be read: {reason}") from error

    def _wait_for_sealer(self, conn: Any) -> int:
        """Give the sealer time for what is there now; returns how many of these events stay unsealed."""
        waiting = [row[0] for row in conn.execute(UNSEALED)]
        deadline = time.monotonic() + self.wait_s
        left = len(waiting)
        while left and time.monotonic() < deadline:
            time.sleep(POLL_S)
            left = conn.execute(STILL_UNSEALED, [waiting]).fetchone()[0]
        return left

    def _check_snapshot(self, conn: Any) -> None:
        for table in TABLES:
            kind = conn.execute("SELECT relkind::text FROM pg_class WHERE oid = %s::regclass", [f"public.{table}"]).fetchone()[0]
            if kind not in "rp":
                self.verdict.fail(f"{table} is not a table: something else answers in its place")
        for (table,) in conn.execute(FILTERED, [list(TABLES)]):
            self.verdict.fail(f"row security is on for {table}: others may be shown other rows")
        for (table,) in conn.execute(NAMESAKES, [list(TABLES)]):
            self.verdict.fail(f"there is a second table {table}: others may be shown that one")
        guarded = {row[0] for row in conn.execute(GUARDED)}
        if bare := sorted(set(TABLES) - guarded):
            self.verdict.notes.append(f"the triggers that make {', '.join(bare)} append-only are not all in force")
        with conn.cursor(name="checkpoints") as marks:
            marks.itersize = 1000
            marks.execute(CHECKPOINTS)
            self._walk(_blocks(conn), iter(marks), lambda indexes: conn.execute(COLUMNS, [indexes]))
        # Two leaves of one number, or one without, are not where the walk comes by.
        if (leaves := conn.execute("SELECT count(*) FROM audit_leaf").fetchone()[0]) != self.walked:
            self.verdict.fail(f"there are {leaves} leaves, of which {self.walked} have a number of their own")
        self.verdict.younger = sum(1 for _ in conn.execute(UNSEALED))
        if self.verdict.younger:
            self.verdict.notes.append(f"{self.verdict.younger} events had not been sealed when the database was read; they are not covered")

    def _walk(self, blocks: Iterator[Rows], marks: Iterator[tuple[int, bytes, str]], columns: Callable[[list[int]], Any]) -> None:
        """Go through leaves and checkpoints side by side, comparing roots wherever a checkpoint stands."""
        verdict, tree = self.verdict, self.tree
        mark = next(marks, None)
        last: Checkpoint | None = None
        seen_witness = self.witness is None or self.witness.size == 0
        buffer: list[bytes] = []

        def settle() -> None:
            """Compare at every checkpoint that stands exactly here."""
            nonlocal mark, last, seen_witness
            tree.extend(buffer)
            buffer.clear()
            if self.witness and tree.size == self.witness.size and tree.root() != self.witness.root:
                verdict.fail(f"the first {tree.size} events are not those of the witnessed checkpoint")
            while mark is not None and mark[0] == tree.size:
                last = self._check_mark(mark) or last
                seen_witness = seen_witness or (self.witness is not None and mark[0] == self.witness.size)
                mark = next(marks, None)

        stops, at, keep = self._next_stop(mark), 0, buffer.append
        for block in blocks:
            unclear: list[int] = []
            for index, stored, payload, prefix, middle, suffix in block:
                if index != at:
                    verdict.fail(f"leaf {at} is missing or stands twice: leaf {index} is in its place")
                if not (
                    payload
                    and sha256(b"\x00" + payload).digest() == stored
                    and prefix
                    and middle
                    and suffix
                    and says_the_same(payload, prefix, middle, suffix)
                ):
                    unclear.append(index)
                # The stored hash even where the text is another one, so that one broken event is told from a broken tree.
                keep(stored or b"")
                at += 1
                if at == stops:
                    settle()
                    stops = self._next_stop(mark)
            self.walked = at
            # However few checkpoints there are, no more than a block is kept.
            settle()
            stops = self._next_stop(mark)
            for row in columns(unclear) if unclear else ():
                self._read_leaf(row)
        settle()
        while mark is not None:
            verdict.fail(f"a checkpoint covers {mark[0]} events, but only {tree.size} are sealed in the database")
            mark = next(marks, None)
        if self.witness and self.witness.size > tree.size:
            verdict.fail(f"the witness saw {self.witness.size} events; the database holds {tree.size} sealed ones: the tail is gone")
        elif not seen_witness:
            verdict.fail(f"the witnessed checkpoint over {self.witness.size if self.witness else 0} events is gone from the database")
        if tree.size and (last is None or last.size != tree.size):
            verdict.fail(f"{tree.size - (last.size if last else 0)} numbered events are under no valid checkpoint")
        verdict.events = verdict.size = tree.size
        verdict.root = tree.root().hex()
        verdict.sealed_at = last.sealed_at if last else ""
        if tree.size:
            verdict.first, verdict.last = 0, tree.size - 1

    def _next_stop(self, mark: tuple[int, bytes, str] | None) -> int:
        """The next size at which a root has to be compared."""
        stops = [mark[0]] if mark else []
        if self.witness and self.witness.size > self.tree.size:
            stops.append(self.witness.size)
        return min(stops, default=-1)

    def _check_mark(self, mark: tuple[int, bytes, str]) -> Checkpoint | None:
        """Compare one stored checkpoint with its own signature and with the events before it."""
        size, root, note = mark
        try:
            signed = parse(note or "", self.keys)
        except NotSealed as error:
            self.verdict.fail(f"the stored checkpoint over {size} events is not valid: {error}")
            return None
        if signed.size != size or signed.root != root:
            self.verdict.fail(f"the row of the checkpoint over {size} events is not what was signed")
            return None
        self._origin = self._origin or signed.origin
        if signed.origin != self._origin:
            self.verdict.fail(f"the checkpoint over {size} events belongs to another trail ({signed.origin})")
            return None
        if self.tree.root() != signed.root and not self._roots_broken:
            self._roots_broken = True
            self.verdict.fail(f"the first {size} events do not have the root that was signed for them")
        return signed

    def _read_leaf(self, row: tuple[Any, ...]) -> None:
        """Look closely at an event whose parts could not be told at a glance."""
        index, stored, payload, event_id = row[:4]
        if payload is None:
            self.verdict.fail(f"event {event_id} (leaf {index}) has been deleted")
            return
        if leaf_hash(payload.encode()) != stored:
            self.verdict.fail(f"event {event_id} (leaf {index}) is not the text that was sealed")
            return
        true = False
        with suppress(ValueError, KeyError, TypeError, StopIteration):
            true = columns_of(payload) == row[3:]
        if not true:
            self.verdict.fail(f"the query columns of event {event_id} (leaf {index}) do not say what its text says")


def _blocks(conn: Any) -> Iterator[Rows]:
    """All leaves with the parts of their events, in order; the next block is read while one is looked at."""

    def read(after: int) -> Rows:
        found: Rows = conn.cursor(binary=True).execute(LEAVES, [after], prepare=True).fetchall()
        return found

    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(read, -(2**63))
        while block := following.result():
            following = pool.submit(read, block[-1][0])
            yield block


def verify_database(url: str, *, witness: Checkpoint | None, keys: list[bytes], wait_s: float) -> Verdict:
    """Verify the trail in the database at `url` against a witnessed checkpoint (or none), waiting up to `wait_s` for the sealer."""
    return DatabaseCheck(url, witness=witness, keys=keys, wait_s=wait_s).run()
