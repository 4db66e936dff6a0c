"""Drives PyPI's ironworker, unmodified; prints what it got as one JSON object.

It was written for Python 2, where its modules found each other beside them: its folder has to be in the path.
"""

import json
import os
import time
from pathlib import Path

from ironworker.core import IronWorker, Project

base = f"{os.environ['IRON_PROTOCOL']}://{os.environ['IRON_HOST']}:{os.environ['IRON_PORT']}"
project = Project(IronWorker(os.environ["IRON_TOKEN"], base_url=base), os.environ["IRON_PROJECT_ID"])
found = {}
uploaded = project.upload_code(
    {"name": "Hello", "runtime": "python", "file_name": "hello.py"}, "hello.zip"
).data
code = uploaded["id"]
found["uploaded"] = [uploaded["msg"], project.get_code_details(code).data["name"]]
found["codes"] = [one["id"] == code for one in project.list_codes().data["codes"]]
found["revisions"] = [one["rev"] for one in project.list_code_revisions(code).data["revisions"]]
queued = project.queue_task("Hello", '{"a": 1}', label="greeting").data
task = queued["tasks"][0]["id"]
while project.get_task_details(task).data["status"] in ("queued", "preparing", "running"):
    time.sleep(0.05)
details = project.get_task_details(task).data
found["task"] = [queued["msg"], details["status"], details["label"], details["payload"]]
found["log"] = project.get_task_log(task).text.decode()
found["tasks"] = [one["id"] == task for one in project.list_tasks(complete=1, per_page=10).data["tasks"]]
found["stats"] = project.list_code_stats(code).data["complete"]
late = project.queue_task("Hello", "", delay=600).data["tasks"][0]["id"]
found["cancelled"] = [project.cancel_task(late).data["msg"], project.get_task_details(late).data["status"]]
found["package"] = project.download_code(code).response.content == Path("hello.zip").read_bytes()
found["deleted"] = [project.delete_code(code).data["msg"], project.list_codes().data["codes"]]
print(json.dumps(found))
