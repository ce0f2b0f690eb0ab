"""The commands as typer shows them."""

import typer

from lambent.cli.coverage import coverage
from lambent.cli.deploy import deploy
from lambent.cli.doctor import doctor
from lambent.cli.generate_event import generate_event
from lambent.cli.invoke import invoke
from lambent.cli.logs import logs
from lambent.cli.ls import ls
from lambent.cli.metrics import metrics
from lambent.cli.queue import queue
from lambent.cli.rm import rm
from lambent.cli.runtime import runtime
from lambent.cli.time import time
from lambent.cli.topic import topic
from lambent.cli.trigger import trigger
from lambent.cli.up_options import up
from lambent.cli.version import version

application = typer.Typer(
    name="lambent",
    help="A self-hosted serverless platform that speaks the AWS Lambda API.\n\n"
    "\b\nStart it, deploy a folder, invoke it:\n"
    "  lambent up\n"
    "  lambent deploy examples/thumbnails\n"
    "  lambent invoke thumbnails\n",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

for command in (up, deploy, invoke, logs, metrics, ls, rm, time, doctor, coverage, version):
    application.command()(command)
for group in (queue, runtime, topic, trigger, generate_event):
    application.add_typer(group)
