"""`python -m verifier` or `python path/to/verifier`: says exactly what was proved, and ends with a code a script can trust."""

import argparse
import json
import os
import sys
from pathlib import Path

if not __package__:
    # Started as `python path/to/verifier`, from wherever: the folder above is where the package is found.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from verifier import report
from verifier.checkpoint import KEY_FILE, Checkpoint, NotSealed, Unreadable, load_keys, parse, read_note
from verifier.lines import is_lines, verify_lines
from verifier.pack import verify_bundle

CODES = """exit codes:
  0  the whole trail is verified against a witnessed checkpoint
  1  something is not as it was sealed
  2  wrong arguments, or a file that cannot be used
  3  the whole trail is verified, without a witness
  4  a range of the trail is proved against a witnessed checkpoint
  5  a range is proved, without a witness
  6  single events are proved against a witnessed checkpoint
  7  single events are proved, without a witness
  8  what is sealed is unchanged, but older events in the database are not sealed
  9  the database cannot be read
 10  it holds no sealed event, so nothing is proved
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m verifier",
        description="Verify Gatehouse's audit trail.",
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--database-url", metavar="URL", help="a live database; default: the variable GATEHOUSE_VERIFY_DATABASE_URL")
    source.add_argument("--bundle", type=Path, metavar="FILE", help="an exported bundle, an evidence pack, or an export as JSON lines")
    parser.add_argument("--checkpoint", type=Path, metavar="PATH", help="the last checkpoint a witness holds")
    parser.add_argument("--public-key", type=Path, metavar="PATH", help=f"public sealing keys; default: {KEY_FILE} beside the checkpoint")
    parser.add_argument("--wait", type=float, default=15.0, metavar="SECONDS", help="how long to wait for the sealer (15)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    return parser


def _keys(options: argparse.Namespace) -> list[bytes] | None:
    """The public keys to believe: those named, else those beside the checkpoint; None leaves a bundle its own."""
    if options.public_key:
        return load_keys(options.public_key)
    if options.checkpoint:
        return load_keys(options.checkpoint.resolve().parent / KEY_FILE)
    if options.bundle:
        return None
    raise Unreadable("say whose signatures to believe: --public-key PATH, or --checkpoint PATH with the key beside it")


def _witness(options: argparse.Namespace, keys: list[bytes] | None) -> Checkpoint | None:
    return parse(read_note(options.checkpoint), keys or []) if options.checkpoint else None


def _verify(options: argparse.Namespace, url: str | None) -> report.Verdict:
    keys = _keys(options)
    try:
        witness = _witness(options, keys)
    except NotSealed as error:
        verdict = report.Verdict()
        verdict.fail(f"the witnessed checkpoint {options.checkpoint} is not valid: {error}")
        return verdict
    if options.bundle:
        folder = options.checkpoint.resolve().parent if options.checkpoint else None
        check = verify_lines if is_lines(options.bundle) else verify_bundle
        return check(options.bundle, witness=witness, keys=keys, witness_folder=folder)
    # Only a live database needs psycopg.
    from verifier.database import verify_database

    return verify_database(url or "", witness=witness, keys=keys or [], wait_s=options.wait)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    url = options.database_url or os.environ.get("GATEHOUSE_VERIFY_DATABASE_URL")
    if not options.bundle and not url:
        parser.error("give --database-url URL or --bundle FILE")
    try:
        verdict = _verify(options, url)
    except Unreadable as error:
        return _stop(options, str(error), report.USAGE)
    except ModuleNotFoundError as error:
        return _stop(options, f"{error.name} is not installed; a live database needs it: pip install 'psycopg[binary]'", report.USAGE)
    except report.Unreachable as error:
        return _stop(options, str(error), report.UNREACHABLE)
    print(json.dumps(verdict.as_json(), indent=1) if options.json else "\n".join(verdict.lines()))
    return verdict.exit_code


def _stop(options: argparse.Namespace, message: str, code: int) -> int:
    if options.json:
        print(json.dumps({"verified": False, "exit_code": code, "problems": [message]}, indent=1))
    print(f"Nothing was verified: {message}.", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
