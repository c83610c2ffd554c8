"""The framework of the API alone: `constant PORT` serves one constant object, as the web server that we use does by itself."""

import sys

import uvicorn
from fastapi import FastAPI

bare = FastAPI()


@bare.get("/objects/{name}")
async def one(name: str) -> dict[str, str]:
    """Answer with what was asked for."""
    return {"kind": "Worker", "name": name}


if __name__ == "__main__":
    uvicorn.run(bare, port=int(sys.argv[1]), access_log=False, log_level="warning", lifespan="off")
