"""Look at a search while it runs: optuna-dashboard on this machine over the search's storage.

    python -m studies.dashboard                      the only search below runs/, at http://127.0.0.1:8080
    python -m studies.dashboard --study NAME --runs DIR --port 8081

The storage is a copy of what the runs' folders say; one that was lost, or is kept nowhere, is made anew from
the search's record first. A database's address with a password is taken from OPTUNA_STORAGE, as in a search.
It shows the search's own figures, which are too good on average: what fresh seeds say is in the report and in
MLflow. Answers on this machine only. Needs an extra package: pip install -c constraints.txt '.[dashboard]'
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import Any

from roadmap.search import FILE, SearchRecord, read_search

HOST = "127.0.0.1"
WRONG_USAGE = 2
#: What is missing without the extra.
INSTALL = "optuna-dashboard is not installed: pip install -c constraints.txt '.[dashboard]', or make optuna"


def main(arguments: list[str] | None = None) -> int:
    """Command line; runs until it is stopped."""
    options = _parser().parse_args(arguments)
    try:
        folder, record = chosen(options.runs, options.study)
        url = storage_of(folder, record)
        application = _application(url)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    return _serve(application, options.port, record)


def chosen(runs: Path, study: str | None) -> tuple[Path, SearchRecord]:
    """The folder and the record of a search below ``runs``; without a name, of the only one there is.

    Raises ValueError with the valid names.
    """
    known = sorted(path.parent.name for path in runs.glob(f"*/{FILE}"))
    if not known:
        raise ValueError(f"no search below {runs}; start one: python -m studies.search --help")
    if study is None and len(known) > 1:
        raise ValueError(f"several searches are below {runs}; choose one with --study: {', '.join(known)}")
    name = study or known[0]
    record = read_search(runs / name) if name in known else None
    if record is None:
        raise ValueError(f"no search {name!r} below {runs}; choose one of: {', '.join(known)}")
    return (runs / name).absolute(), record


def storage_of(folder: Path, record: SearchRecord) -> str:
    """Where the dashboard looks: the search's storage, made from its record where it has none.

    Raises ValueError when the storage cannot be reached.
    """
    from studies.searching import storage

    usual = storage.address(None, folder)
    url = usual if not record.storage or storage.is_default(record.storage, folder) else record.storage
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).is_file():
        url = usual  # a file that was lost, or lies where the search ran before its folder was moved
        if problem := storage.mirror(record, url):
            raise ValueError(problem)
    storage.check(url)
    return url


def _application(url: str) -> Any:
    """The dashboard; the address, which may hold a password, is on no command line."""
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise ValueError(INSTALL) from error
    return wsgi(url)


def _serve(application: Any, port: int, record: SearchRecord) -> int:
    from socketserver import ThreadingMixIn
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    from studies.mirror.server import free_port
    from studies.searching.storage import names

    class Server(ThreadingMixIn, WSGIServer):
        daemon_threads = True

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Not a line per request."""

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with make_server(HOST, free_port(port), application, Server, Quiet) as server:
        print(f"optuna-dashboard: http://{HOST}:{server.server_port}/dashboard   (Ctrl-C stops it)")
        print(f"  {', '.join(names(record).values())}: the search's own figures, too good on average")
        sys.stdout.flush()
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m studies.dashboard",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--study", metavar="NAME", help="which search; default: the only one there is")
    parser.add_argument("--port", type=int, default=8080, help="default: 8080, or a free one if it is taken")
    return parser


if __name__ == "__main__":
    sys.exit(main())
