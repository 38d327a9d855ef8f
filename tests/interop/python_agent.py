"""The published Python agent, driven for a test.

Installs z4j-bare's runtime with the Celery adapter (its broker is in memory), records events through the
runtime, and says what it sees as one JSON document a line. Everything else comes from Z4J_* variables.
Ends when standard input closes.
"""

import json
import logging
import sys
import threading
import uuid
from datetime import datetime, timezone

from celery import Celery
from z4j_bare import install_agent
from z4j_celery import CeleryEngineAdapter
from z4j_core.models import Event, EventKind

NOBODY = uuid.UUID(int=0)


def say(**what):
    print(json.dumps(what), flush=True)


def event(number):
    return Event(
        id=uuid.uuid4(),
        project_id=NOBODY,
        agent_id=NOBODY,
        engine="celery",
        task_id=f"interop-{number}",
        kind=EventKind.TASK_SUCCEEDED,
        occurred_at=datetime.now(timezone.utc),
        # Numbers that the two JSON writers spell differently, and text beyond ASCII.
        data={"task_name": "picker.tasks.add", "runtime_ms": 1.5e-07, "big": 2**70, "text": "grün 😀 \u007f"},
    )


def main():
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    events = int(sys.argv[1])
    runtime = install_agent(engines=[CeleryEngineAdapter(celery_app=Celery("picker", broker="memory://"))])
    for number in range(events):
        runtime.record_event(event(number))
    say(recorded=events)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    depth = None
    while not ended.wait(0.1):
        if runtime.buffer_size() != depth:
            depth = runtime.buffer_size()
            say(buffer=depth)
    runtime.stop()
    say(stopped=True)


main()
