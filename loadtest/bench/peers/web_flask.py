"""Flask with gunicorn: `gunicorn web_flask:app --workers 1 --worker-class gthread --threads 8`.

https://flask.palletsprojects.com/en/stable/deploying/gunicorn/ and https://gunicorn.org/design: gthread keeps
connections alive; one worker process, as the bench gives one core. HSET and LPUSH in one transaction.
"""

import json
import uuid

import settings
from flask import Flask, request
from flask.typing import ResponseReturnValue
from redis import Redis

app = Flask(__name__)
_redis = Redis.from_url(settings.REDIS_URL)


@app.post("/tasks")
def create() -> ResponseReturnValue:
    task = request.get_json()
    task_id = str(uuid.uuid4())
    with _redis.pipeline(transaction=True) as pipe:
        pipe.hset(f"task:{task_id}", mapping={"type": task["type"], "data": json.dumps(task["data"])})
        pipe.lpush("tasks", task_id)
        pipe.execute()
    return {"task_id": task_id, "status": "queued", "message": "Task created successfully"}, 201
