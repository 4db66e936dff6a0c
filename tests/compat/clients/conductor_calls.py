"""What programs ask with conductor-python beside working: definitions, workflows, queues; prints JSON."""

import json

from conductor.client.configuration.configuration import Configuration
from conductor.client.http.models import StartWorkflowRequest, TaskDef
from conductor.client.http.rest import ApiException
from conductor.client.orkes_clients import OrkesClients

clients = OrkesClients(Configuration())
found = {}

metadata = clients.get_metadata_client()
metadata.register_task_def(TaskDef(name="calls", retry_count=1, timeout_seconds=60))
definition = metadata.get_task_def("calls")
found["definition"] = [definition.name, definition.retry_count, definition.timeout_seconds]
metadata.update_task_def(TaskDef(name="calls", retry_count=4))
found["definitions"] = sorted(
    [one.name, one.retry_count] for one in metadata.get_all_task_defs() if one.name == "calls"
)
metadata.unregister_task_def("calls")
try:
    metadata.get_task_def("calls")
except ApiException as error:
    found["gone"] = error.status

workflows = clients.get_workflow_client()
started = workflows.start_workflow_by_name("calls", {"speed": 3}, correlationId="order 7")
found["started"] = len(started)
workflows.pause_workflow(started)
found["paused"] = workflows.get_workflow_status(started).status
workflows.resume_workflow(started)
workflows.terminate_workflow(started, reason="enough")
workflow = workflows.get_workflow(started, include_tasks=True)
found["workflow"] = [
    workflow.workflow_name,
    workflow.correlation_id,
    workflow.input,
    workflow.workflow_id == started,
]
found["tasks"] = [one.task_def_name for one in workflow.tasks]
request = StartWorkflowRequest(name="calls", input={"speed": 4}, task_to_domain={"*": "blue,NO_DOMAIN"})
second = workflows.start_workflow(request)
found["second"] = second != started
workflows.terminate_workflow(second)

tasks = clients.get_task_client()
found["size"] = tasks.get_queue_size_for_task("nobody_polls")
found["polled"] = tasks.get_task_poll_data("nobody_polls")
tasks.add_task_log("nobody.has.this", 'quoted "text"')
found["logs"] = tasks.get_task_logs("nobody.has.this")
try:
    tasks.get_task("nobody.has.this")
except ApiException as error:
    found["no_task"] = error.status
print(json.dumps(found))
