"""Things in a platform that one writer each changes step by step, and what may be found of them after a kill.

A thing remembers what was acknowledged last and, when its last step got no answer, what that step would have made of
it. After a restart it must be the one or the other, as a whole.
"""

import base64
import hashlib
import io
import json
import time
import urllib.request
import zipfile

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

ROLE = "arn:aws:iam::000000000000:role/durability"
_LINES = 20
_ASSUME = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": _ASSUME})
PERMISSIONS = {"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "logs:*", "Resource": "*"}}
_HANDLER = """
import os

CODE = {number}

def handler(event, context):
    return {{"code": CODE, "number": os.environ["NUMBER"]}}
"""
# Leaves a trace that is durable before the event is: a stream named as the event, or the record of one, says.
_MARKING_HANDLER = """
import json, os, urllib.request

def handler(event, context):
    mark = event.get("requestPayload", event)["mark"]
    request = urllib.request.Request(
        os.environ["AWS_ENDPOINT_URL"],
        json.dumps({"logGroupName": os.environ["MARKS"], "logStreamName": mark}).encode(),
        {"X-Amz-Target": "Logs_20140328.CreateLogStream", "Content-Type": "application/x-amz-json-1.1"},
    )
    try:
        urllib.request.urlopen(request, timeout=20).close()
    except urllib.error.HTTPError as error:
        if "ResourceAlreadyExists" not in error.read().decode():
            raise
"""


class Unanswered(Exception):
    """The node was gone before it answered."""


class Thing:
    """`state` is what was acknowledged, None for nothing; `doubtful` what an unanswered step may have made of it."""

    refusals: tuple[str, ...] = ()
    suffix = ""  # of its name

    def __init__(self, name, rng):
        self.name, self.rng = name, rng
        self.state, self.doubtful = None, []
        self.acknowledged = 0

    def prepare(self, node):
        """Whatever must be there before the first step."""

    def step(self, node):
        """One change of the thing, chosen at random."""
        call, after = self.choose(node)
        self.doubtful = [after]
        try:
            call()
        except ClientError as error:
            self.doubtful = []
            if error.response["Error"]["Code"] not in self.refusals:
                raise
        except (BotoCoreError, ResponseParserError) as error:  # no answer, or the beginning of one
            raise Unanswered from error
        else:
            self.state, self.doubtful = after, []
            self.acknowledged += 1

    def settle(self, node):
        """Finds what a restart made of it."""
        found = self.look(node)
        assert found in [self.state, *self.doubtful], f"{self.name}: {found}, not {self.state} nor {self.doubtful}"
        self.state, self.doubtful = found, []

    def use(self, node):
        """At the very end: it is not only there, it works."""


def package(source, filling=b""):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(zipfile.ZipInfo("app.py"), source)
        archive.writestr(zipfile.ZipInfo("filling"), filling)
    return content.getvalue()


class FunctionThing(Thing):
    """A function: (code, configuration, published versions). Each change of the configuration is of several members."""

    refusals = ("ResourceConflictException",)  # while it is Pending, or an update is in progress

    def __init__(self, name, rng):
        super().__init__(name, rng)
        self._counter = 0
        self._codes = {}

    def choose(self, node):
        client, self._counter = node.client("lambda"), self._counter + 1
        number = self._counter
        if self.state is None:
            created = {"Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, **self._settings(number)}
            code = {"ZipFile": self._package(number)}
            return lambda: client.create_function(FunctionName=self.name, Code=code, **created), (number, number, ())
        code, configuration, versions = self.state
        match self.rng.choices(["code", "configuration", "publish", "delete"], [4, 4, 2, 1])[0]:
            case "code":
                data = self._package(number)
                after = (number, configuration, versions)
                return lambda: client.update_function_code(FunctionName=self.name, ZipFile=data), after
            case "configuration":
                settings = self._settings(number)
                after = (code, number, versions)
                return lambda: client.update_function_configuration(FunctionName=self.name, **settings), after
            case "publish":
                new = () if versions[-1:] == ((code, configuration),) else ((code, configuration),)
                return lambda: client.publish_version(FunctionName=self.name), (code, configuration, versions + new)
        return lambda: client.delete_function(FunctionName=self.name), None

    def look(self, node):
        client = node.client("lambda")
        try:
            function = client.get_function(FunctionName=self.name)
        except client.exceptions.ResourceNotFoundException:
            return None
        code, number = self._snapshot(function["Configuration"])
        with urllib.request.urlopen(function["Code"]["Location"]) as response:
            data = response.read()
        assert len(data) == function["Configuration"]["CodeSize"]
        assert _sha256(data) == function["Configuration"]["CodeSha256"]
        pages = client.get_paginator("list_versions_by_function").paginate(FunctionName=self.name)
        versions = [version for page in pages for version in page["Versions"] if version["Version"] != "$LATEST"]
        assert [version["Version"] for version in versions] == [str(n + 1) for n in range(len(versions))]
        return code, number, tuple(map(self._snapshot, versions))

    def use(self, node):
        client = node.client("lambda")
        if self.state is None:
            return
        client.get_waiter("function_updated_v2").wait(
            FunctionName=self.name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
        )
        answer = json.load(client.invoke(FunctionName=self.name)["Payload"])
        assert answer == {"code": self.state[0], "number": str(self.state[1])}

    def _package(self, number):
        data = package(_HANDLER.format(number=number), self.rng.randbytes(self.rng.randrange(200_000)))
        self._codes[_sha256(data)] = number
        return data

    def _settings(self, number):
        return {
            "Description": str(number),
            "Timeout": 1 + number % 900,
            "MemorySize": 128 + number % 1000,
            "Environment": {"Variables": {"NUMBER": str(number)}},
        }

    def _snapshot(self, configuration):
        """(code, configuration), which was changed as a whole or not at all."""
        number = int(configuration["Description"])
        expected = self._settings(number)
        assert {key: configuration[key] for key in expected} == expected
        return self._codes[configuration["CodeSha256"]], number


class RoleThing(Thing):
    """A role: its inline policies, as {(name, number)}."""

    def __init__(self, name, rng):
        super().__init__(name, rng)
        self._counter = 0

    def choose(self, node):
        client, self._counter = node.client("iam"), self._counter + 1
        if self.state is None:
            return lambda: client.create_role(RoleName=self.name, AssumeRolePolicyDocument=TRUST), frozenset()
        policies = dict(self.state)
        if not policies and self.rng.random() < 0.3:
            return lambda: client.delete_role(RoleName=self.name), None
        if policies and self.rng.random() < 0.4:
            policy = self.rng.choice(sorted(policies))
            del policies[policy]
            after = frozenset(policies.items())
            return lambda: client.delete_role_policy(RoleName=self.name, PolicyName=policy), after
        policy, number = f"policy-{self.rng.randrange(4)}", self._counter
        document = json.dumps(PERMISSIONS | {"Id": str(number)})
        after = frozenset((policies | {policy: number}).items())
        put = {"RoleName": self.name, "PolicyName": policy, "PolicyDocument": document}
        return lambda: client.put_role_policy(**put), after

    def look(self, node):
        client = node.client("iam")
        try:
            names = client.list_role_policies(RoleName=self.name)["PolicyNames"]
        except client.exceptions.NoSuchEntityException:
            return None
        documents = {
            name: client.get_role_policy(RoleName=self.name, PolicyName=name)["PolicyDocument"] for name in names
        }
        return frozenset((name, int(document["Id"])) for name, document in documents.items())


class GroupThing(Thing):
    """A log group: (retention, streams)."""

    def __init__(self, name, rng):
        super().__init__(name, rng)
        self._counter = 0

    def choose(self, node):
        client, self._counter = node.client("logs"), self._counter + 1
        if self.state is None:
            return lambda: client.create_log_group(logGroupName=self.name), (None, frozenset())
        retention, streams = self.state
        match self.rng.choices(["stream", "retention", "delete"], [6, 3, 1])[0]:
            case "stream":
                stream = f"stream-{self._counter}"
                after = (retention, streams | {stream})
                return lambda: client.create_log_stream(logGroupName=self.name, logStreamName=stream), after
            case "retention":
                days = self.rng.choice([1, 3, 5, 7, 14, 30, 60, 90])
                after = (days, streams)
                return lambda: client.put_retention_policy(logGroupName=self.name, retentionInDays=days), after
        return lambda: client.delete_log_group(logGroupName=self.name), None

    def look(self, node):
        client = node.client("logs")
        groups = client.describe_log_groups(logGroupNamePrefix=self.name)["logGroups"]
        group = next((group for group in groups if group["logGroupName"] == self.name), None)
        return None if group is None else (group.get("retentionInDays"), streams_of(node, self.name))


class LinesThing(Thing):
    """A log stream: how many lines it has. Many come at a time: all of them or none."""

    def prepare(self, node):
        client = node.client("logs")
        client.create_log_group(logGroupName=self.name)
        client.create_log_stream(logGroupName=self.name, logStreamName="lines")
        self.state = 0

    def choose(self, node):
        client, now_ms = node.client("logs"), int(time.time() * 1000)
        events = [{"timestamp": now_ms, "message": str(self.state + n)} for n in range(_LINES)]
        put = {"logGroupName": self.name, "logStreamName": "lines", "logEvents": events}
        return lambda: client.put_log_events(**put), self.state + _LINES

    def look(self, node):
        client, messages, place = node.client("logs"), [], {"startFromHead": True}
        while True:
            page = client.get_log_events(logGroupName=self.name, logStreamName="lines", **place)
            messages += [event["message"] for event in page["events"]]
            if place.get("nextToken") == page["nextForwardToken"]:
                break
            place["nextToken"] = page["nextForwardToken"]
        assert messages == [str(n) for n in range(len(messages))]
        return len(messages)


class EventsThing(Thing):
    """Asynchronous invocations of a function that leaves a mark for each: which were accepted."""

    group = "marks"

    def __init__(self, name, rng):
        super().__init__(name, rng)
        self.state = frozenset()
        self._counter = 0
        self._maybe = set()

    def prepare(self, node):
        node.client("logs").create_log_group(logGroupName=self.group)
        self._create(node, self.name, _MARKING_HANDLER)

    def _create(self, node, name, source):
        client = node.client("lambda")
        client.create_function(
            FunctionName=name,
            Runtime="python3.11",
            Handler="app.handler",
            Role=ROLE,
            Timeout=60,
            Code={"ZipFile": package(source)},
            Environment={"Variables": {"MARKS": self.group}},
        )
        client.get_waiter("function_active_v2").wait(
            FunctionName=name, WaiterConfig={"Delay": 0.05, "MaxAttempts": 600}
        )

    def choose(self, node):
        client, self._counter = node.client("lambda"), self._counter + 1
        mark = f"{self.name}-{self._counter}"
        event = {"FunctionName": self.name, "InvocationType": "Event", "Payload": json.dumps({"mark": mark})}
        return lambda: client.invoke(**event), self.state | {mark}

    def settle(self, node):
        """Each accepted event has run, or runs now; and none that nobody sent."""
        for maybe in self.doubtful:
            self._maybe |= maybe - self.state
        self.doubtful = []
        deadline = time.monotonic() + 60
        while not self.state <= (marks := streams_of(node, self.group)):
            assert time.monotonic() < deadline, f"lost: {sorted(self.state - marks)}"
        assert marks <= self.state | self._maybe


class RecordsThing(EventsThing):
    """The same of a function whose destination leaves the marks: no record of an accepted event is lost either."""

    group = "records"

    def prepare(self, node):
        super().prepare(node)
        destination = node.client("lambda").get_function(FunctionName=self.name)["Configuration"]["FunctionArn"]
        self._create(node, f"{self.name}-source", "def handler(event, context): return event")
        node.client("lambda").put_function_event_invoke_config(
            FunctionName=f"{self.name}-source", DestinationConfig={"OnSuccess": {"Destination": destination}}
        )

    def choose(self, node):
        client, self._counter = node.client("lambda"), self._counter + 1
        mark = f"{self.name}-{self._counter}"
        event = {"FunctionName": f"{self.name}-source", "InvocationType": "Event"}
        return lambda: client.invoke(**event, Payload=json.dumps({"mark": mark})), self.state | {mark}


def streams_of(node, group):
    pages = node.client("logs").get_paginator("describe_log_streams").paginate(logGroupName=group)
    return frozenset(stream["logStreamName"] for page in pages for stream in page["logStreams"])


def _sha256(data):
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


class QueueThing(Thing):
    """A standard queue: the bodies that are in it, in flight or not."""

    def __init__(self, name, rng):
        super().__init__(name, rng)
        self._counter = 0

    def prepare(self, node):
        node.client("sqs").create_queue(QueueName=self.name)
        self.state = frozenset()

    def choose(self, node):
        client, url = node.client("sqs"), self._url(node)
        if len(self.state) < 50 and self.rng.random() < 0.6:
            bodies = [str(self._counter + n) for n in range(self.rng.randrange(1, 11))]
            self._counter += len(bodies)
            entries = [{"Id": body, "MessageBody": body} for body in bodies]
            return lambda: client.send_message_batch(QueueUrl=url, Entries=entries), self.state | set(bodies)
        try:
            found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=1)
        except (BotoCoreError, ResponseParserError) as error:
            raise Unanswered from error
        messages = found.get("Messages", [])
        assert {message["Body"] for message in messages} <= self.state
        if not messages:
            return lambda: None, self.state
        entries = [{"Id": message["Body"], "ReceiptHandle": message["ReceiptHandle"]} for message in messages]
        after = self.state - {message["Body"] for message in messages}
        return lambda: client.delete_message_batch(QueueUrl=url, Entries=entries), after

    def look(self, node):
        bodies = self._bodies(node)
        assert len(bodies) == len(set(bodies))
        return frozenset(bodies)

    def use(self, node):
        """All of them come, in the end."""
        client, found, empty = node.client("sqs"), set(), 0
        while empty < 2:
            answer = client.receive_message(QueueUrl=self._url(node), MaxNumberOfMessages=10, WaitTimeSeconds=2)
            found |= {message["Body"] for message in answer.get("Messages", [])}
            empty += "Messages" not in answer
        assert found == set(self.state)

    def _url(self, node):
        return f"{node.endpoint}/000000000000/{self.name}"

    def _bodies(self, node):
        url = f"{node.endpoint}/_lambent/queue?arn=arn:aws:sqs:us-east-1:000000000000:{self.name}&most=1000"
        with urllib.request.urlopen(url) as response:
            return [message["Body"] for message in json.load(response)["Messages"]]


class FifoThing(QueueThing):
    """A FIFO queue: the bodies that are in it, in order, and those that were ever sent. What is sent again is not there
    twice."""

    suffix = ".fifo"

    def prepare(self, node):
        attributes = {"FifoQueue": "true", "ContentBasedDeduplication": "true"}
        node.client("sqs").create_queue(QueueName=self.name, Attributes=attributes)
        self.state = ()
        self._sent = 0  # how many were taken

    def choose(self, node):
        client, url = node.client("sqs"), self._url(node)
        if len(self.state) < 30 and self.rng.random() < 0.6:
            number = self._sent - (1 if self._sent and self.rng.random() < 0.4 else 0)
            after = self.state if number < self._sent else (*self.state, number)

            def send():
                client.send_message(QueueUrl=url, MessageBody=str(number), MessageGroupId="g")
                self._sent = number + 1

            return send, after
        try:
            found = client.receive_message(QueueUrl=url, MaxNumberOfMessages=3, VisibilityTimeout=5)
        except (BotoCoreError, ResponseParserError) as error:
            raise Unanswered from error
        messages = found.get("Messages", [])
        bodies = tuple(int(message["Body"]) for message in messages)
        assert bodies == self.state[: len(bodies)], "out of order"
        if not messages:
            return lambda: None, self.state
        entries = [{"Id": message["Body"], "ReceiptHandle": message["ReceiptHandle"]} for message in messages]

        def delete():
            answer = client.delete_message_batch(QueueUrl=url, Entries=entries)
            assert not answer.get("Failed")

        return delete, self.state[len(bodies) :]

    def look(self, node):
        bodies = tuple(map(int, self._bodies(node)))
        if bodies and bodies[-1] == self._sent:  # it was taken, though nobody was told
            self._sent += 1
        return bodies

    def use(self, node):
        client, left = node.client("sqs"), self.state
        while left:
            answer = client.receive_message(QueueUrl=self._url(node), MaxNumberOfMessages=10, WaitTimeSeconds=20)
            messages = answer["Messages"]
            assert tuple(int(message["Body"]) for message in messages) == left[: len(messages)]
            for message in messages:
                client.delete_message(QueueUrl=self._url(node), ReceiptHandle=message["ReceiptHandle"])
            left = left[len(messages) :]
