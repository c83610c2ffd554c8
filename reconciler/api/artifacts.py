"""The files that tasks left, over HTTP: what there is, and the content of each."""

from collections.abc import Iterator
from typing import Annotated, BinaryIO

from fastapi import APIRouter, Path
from fastapi.responses import Response, StreamingResponse

from reconciler.api.faults import ApiFault
from reconciler.api.paging import Page
from reconciler.api.tasks import TaskName, number_of
from reconciler.api.visits import Visited, needs
from reconciler.model.access import Permission
from reconciler.model.live import StoredArtifact
from reconciler.store import results
from reconciler.store.blobs import open_blob

CHUNK_BYTES = 1 << 18
"""Read and sent at once."""

router = APIRouter(prefix="/spaces/{space}/tasks/{task}/artifacts", tags=["tasks"])

Digest = Annotated[str, Path(description="The SHA-256 of the file.", pattern=r"^[0-9a-f]{64}$")]


class Content(StreamingResponse):
    """The bytes of a file, with their number; nobody's browser is to show them."""

    media_type = "application/octet-stream"

    def __init__(self, content: BinaryIO, size: int, status_code: int = 200) -> None:
        headers = {
            "content-length": str(size),
            "content-disposition": "attachment",
            "x-content-type-options": "nosniff",
        }
        super().__init__(_chunks(content), status_code, headers)


@router.get(
    "",
    summary="List artifacts",
    operation_id="list_artifacts",
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def list_artifacts(visit: Visited, task: TaskName) -> Page[StoredArtifact]:
    """List the files that a task left, by step, attempt and name."""
    number = await number_of(visit, task)
    return Page(items=await visit.read(lambda tx: results.artifacts(tx, number)))


@router.get(
    "/{digest}",
    summary="Fetch an artifact",
    operation_id="get_artifact",
    response_class=Response,  # a class with a media type would be that of every refusal, too
    responses={200: {"content": {"application/octet-stream": {}}, "description": "The bytes of the file."}},
    openapi_extra=needs(Permission.WORKER_VIEW),
)
async def get_artifact(visit: Visited, task: TaskName, digest: Digest) -> Content:
    """Return the content of a file that a task left, by its SHA-256."""
    number = await number_of(visit, task)
    found = await visit.read(lambda tx: results.artifacts(tx, number))
    wanted = next((artifact for artifact in found if artifact.digest == digest), None)
    if wanted is None:
        raise ApiFault(404, f"task {number} left no file {digest[:12]}", "see: GET …/artifacts")
    return Content(open_blob(visit.controller.engine.place.files.blobs, digest), wanted.size)


def _chunks(content: BinaryIO) -> Iterator[bytes]:
    with content:
        while chunk := content.read(CHUNK_BYTES):
            yield chunk
