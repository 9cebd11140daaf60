"""Work through a job of many clips: read, compute and write side by side, stop and go on, fail clip by clip."""

from diffsda.export.infer.job import Job, read_job
from diffsda.export.infer.keys import file_name, seed_of
from diffsda.export.infer.runner import Settings, Summary, run
from diffsda.export.infer.tasks import TASKS, Task, task_named

__all__ = ["TASKS", "Job", "Settings", "Summary", "Task", "file_name", "read_job", "run", "seed_of", "task_named"]
