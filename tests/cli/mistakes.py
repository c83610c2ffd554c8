"""One case for each sentence that an error can say: make the mistake, return what is said."""

import os
import re
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg import OperationalError, errors

from reconciler.declare.git import TIMEOUT, GitFailed, GitSlow, blobs, git
from reconciler.declare.source import ENTRIES_MAX, open_tree, records
from reconciler.model.errors import ReconcilerError
from reconciler.model.live import Attempt, AttemptState, TaskId
from reconciler.model.spec import Address
from reconciler.server.control import LINE_BYTES_MAX, decide
from reconciler.server.decisions import Decision, carry_out_decision
from reconciler.server.place import Place
from reconciler.store import attempts, leases, objects
from reconciler.store.blobs import put_blob, read_blob
from reconciler.store.directory import DataDirectory, EngineLock
from reconciler.store.keys import Sealer
from reconciler.store.postgres import PostgresDatabase
from reconciler.store.sqlite import SqliteDatabase
from reconciler.store.writer import Store
from tests.cli.workplace import ENVIRONMENT, MANUAL, PROJECT, RECONCILE, Outcome, Workplace, command, reconcile
from tests.store.conftest import without_rights
