"""A Celery application, as its workers import it: its tasks call by the real SDK."""

from __future__ import annotations

import os

import openai
from celery import Celery

from budgeted import BudgetError, configure
from budgeted.integrations import celery as budgeted_celery

folder = os.environ["QUEUE_FOLDER"]
app = Celery("application", broker="filesystem://", backend=f"file://{folder}/results")
app.conf.update(
    broker_transport_options={
        name: f"{folder}/{name}" for name in ("data_folder_in", "data_folder_out", "control_folder")
    }
    | {"data_folder_in": f"{folder}/messages", "data_folder_out": f"{folder}/messages"},
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
configure(project_name="app", ledger=f"{folder}/ledger", max_budget=100)
budgeted_celery.instrument()


@app.task
def answer(question: str) -> str:
    """Ask. Returns "" or why it was refused."""
    with openai.OpenAI(base_url=os.environ["PROVIDER_URL"], api_key="any", max_retries=0) as client:
        try:
            client.chat.completions.create(
                model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": question}]
            )
        except BudgetError as error:
            return f"{type(error).__name__}: {error}"
    return ""


@app.task
def pass_on(question: str) -> None:
    """Have another task ask."""
    answer.delay(question)


@app.task(bind=True, max_retries=1, default_retry_delay=0)
def answer_at_last(self: object, question: str) -> str:
    """Ask when it is tried for the second time."""
    if self.request.retries == 0:  # type: ignore[attr-defined]
        raise self.retry()  # type: ignore[attr-defined]
    return answer(question)
