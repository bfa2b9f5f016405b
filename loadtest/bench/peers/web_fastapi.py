"""FastAPI with arq: `uvicorn web_fastapi:app --loop uvloop --http httptools --no-access-log`.

https://fastapi.tiangolo.com/deployment/manually/ and https://www.uvicorn.org/settings/. The body is a
pydantic model with an `EmailStr`, as FastAPI's documents have it; arq enqueues over its own pool.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import settings
from arq.connections import RedisSettings, create_pool
from fastapi import FastAPI
from pydantic import BaseModel, EmailStr


class Mail(BaseModel):
    subject: str
    recipient: EmailStr
    content: str


class Task(BaseModel):
    type: Literal["email"]
    data: Mail


_state: dict[str, Any] = {}


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    _state["arq"] = await create_pool(RedisSettings.from_dsn(settings.REDIS_URL))
    yield
    await _state["arq"].aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/tasks", status_code=201)
async def create(task: Task) -> dict[str, str]:
    job = await _state["arq"].enqueue_job("email", task.data.model_dump())
    return {"task_id": job.job_id, "status": "queued", "message": "Task created successfully"}
