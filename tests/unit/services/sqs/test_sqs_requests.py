"""What requests may have in them: sizes, attributes, batches, receipts, and what is counted of them."""

import hashlib

import pytest
from tests.unit.services.sqs.sqs_service import Client, with_sqs

MIB = 1_048_576
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def text(value: str) -> dict[str, str]:
    return {"DataType": "String", "StringValue": value}


def test_a_message_of_1_mib_fits_and_one_byte_more_does_not(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "x" * MIB)
        await sqs.send(url, "x" * (MIB - 9), MessageAttributes={"a": text("é")})
        expected = f"One or more parameters are invalid. Reason: Message must be shorter than {MIB} bytes."
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs.send(url, "é" + "x" * (MIB - 1))
        async with sqs.refused("InvalidParameterValue", expected):
            await sqs.send(url, "x" * (MIB - 8), MessageAttributes={"a": text("é")})
        assert [len(body) for body in await sqs.bodies(url)] == [MIB, MIB - 9]

    with_sqs(tmp_path, test)


def test_the_size_of_messages_can_be_limited_further(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue(MaximumMessageSize=1024)
        await sqs.send(url, "x" * 1024)
        async with sqs.refused("InvalidParameterValue"):
            await sqs.send(url, "x" * 1025)
        entries = [{"Id": "a", "MessageBody": "x"}, {"Id": "b", "MessageBody": "x" * 1025}]
        answer = await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
        assert [each["Id"] for each in answer["Successful"]] == ["a"]
        assert answer["Failed"][0]["Message"] == "Message must be shorter than 1024 bytes."

    with_sqs(tmp_path, test)


def test_a_batch_has_1_mib_in_all(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        half = [{"Id": name, "MessageBody": "x" * (MIB // 2)} for name in "ab"]
        await sqs("SendMessageBatch", QueueUrl=url, Entries=half)
        expected = f"Batch requests cannot be longer than {MIB} bytes. You have sent {MIB + 1} bytes."
        async with sqs.refused("BatchRequestTooLong", expected):
            await sqs("SendMessageBatch", QueueUrl=url, Entries=[*half, {"Id": "c", "MessageBody": "x"}])

    with_sqs(tmp_path, test)


@pytest.mark.parametrize("operation", ["SendMessageBatch", "DeleteMessageBatch", "ChangeMessageVisibilityBatch"])
def test_batches_that_are_refused(tmp_path, operation):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        entry = {"MessageBody": "a", "ReceiptHandle": "h", "VisibilityTimeout": 1}

        def call(*names: str):
            return sqs(operation, QueueUrl=url, Entries=[{"Id": name, **entry} for name in names])

        async with sqs.refused(
            "EmptyBatchRequest", f"There should be at least one {operation}RequestEntry in the request."
        ):
            await call()
        expected = "Maximum number of entries per request are 10. You have sent 11."
        async with sqs.refused("TooManyEntriesInBatchRequest", expected):
            await call(*LETTERS[:11])
        await call(*LETTERS[:10])
        async with sqs.refused("BatchEntryIdsNotDistinct", "Id a repeated."):
            await call("a", "b", "a")
        for name in ("", "a b", "x" * 81):
            async with sqs.refused("InvalidBatchEntryId"):
                await call(name)
        await call("x" * 80)

    with_sqs(tmp_path, test)


def test_some_of_a_batch_may_fail(tmp_path):
    async def test(sqs: Client) -> None:
        url, other = await sqs.queue(), await sqs.queue("other")
        await sqs.send(url, "a")
        await sqs.send(other, "b")
        (message,), (foreign,) = await sqs.receive(url), await sqs.receive(other)
        entries = [
            {"Id": "good", "ReceiptHandle": message["ReceiptHandle"], "VisibilityTimeout": 5},
            {"Id": "nonsense", "ReceiptHandle": "x", "VisibilityTimeout": 5},
            {"Id": "foreign", "ReceiptHandle": foreign["ReceiptHandle"], "VisibilityTimeout": 5},
        ]
        for operation in ("ChangeMessageVisibilityBatch", "DeleteMessageBatch"):
            answer = await sqs(operation, QueueUrl=url, Entries=entries)
            assert answer["Successful"] == [{"Id": "good"}]
            assert [(each["Id"], each["Code"], each["SenderFault"]) for each in answer["Failed"]] == [
                ("nonsense", "ReceiptHandleIsInvalid", True),
                ("foreign", "ReceiptHandleIsInvalid", True),
            ]
        handle = foreign["ReceiptHandle"]
        async with sqs.refused("ReceiptHandleIsInvalid", f'The receipt handle "{handle}" is not valid for this queue.'):
            await sqs.delete(url, foreign)
        for wrong in ("x", "", message["ReceiptHandle"][:-4] + "AAA="):
            async with sqs.refused("ReceiptHandleIsInvalid", "The input receipt handle is invalid."):
                await sqs("DeleteMessage", QueueUrl=url, ReceiptHandle=wrong)
        async with sqs.refused("ReceiptHandleIsInvalid"):
            await sqs("ChangeMessageVisibility", QueueUrl=url, ReceiptHandle="x", VisibilityTimeout=1)

    with_sqs(tmp_path, test)


def test_attributes_come_back_and_their_digest_is_that_of_the_sdks(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        stamp = {"timestamp": {"DataType": "Number", "StringValue": "1493147359900"}}
        (sent,) = await sqs.send(url, "a", MessageAttributes=stamp)
        assert sent["MD5OfMessageAttributes"] == "235c5c510d26fb653d073faed50ae77c"
        given = {
            "b.one": {"DataType": "String.custom", "StringValue": "é"},
            "b.two": {"DataType": "Binary", "BinaryValue": b"\x00\xff"},
            "n": {"DataType": "Number", "StringValue": "+0012.3400"},
        }
        (sent,) = await sqs.send(url, "b", MessageAttributes=given)
        first, second = await sqs.receive(url)
        assert first["MessageAttributes"] == stamp
        assert first["MD5OfMessageAttributes"] == "235c5c510d26fb653d073faed50ae77c"
        assert second["MessageAttributes"] == given | {"n": {"DataType": "Number", "StringValue": "12.34"}}
        assert second["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]

    with_sqs(tmp_path, test)


def test_only_what_is_asked_for_comes_back(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", MessageAttributes={name: text("v") for name in ("a.one", "a.two", "b")})

        async def ask(**params) -> dict:
            params = {"MessageSystemAttributeNames": [], "MessageAttributeNames": [], "VisibilityTimeout": 0} | params
            return (await sqs.receive(url, **params))[0]

        assert (await ask()).keys() == {"MessageId", "ReceiptHandle", "MD5OfBody", "Body"}
        assert (await ask(MessageAttributeNames=["a.*"]))["MessageAttributes"].keys() == {"a.one", "a.two"}
        assert (await ask(MessageAttributeNames=["b", "c"]))["MessageAttributes"].keys() == {"b"}
        assert "MessageAttributes" not in await ask(MessageAttributeNames=["c"])
        for every in ("All", ".*"):
            assert len((await ask(MessageAttributeNames=[every]))["MessageAttributes"]) == 3
        both = await ask(AttributeNames=["SentTimestamp"], MessageSystemAttributeNames=["SenderId"])
        assert both["Attributes"].keys() == {"SentTimestamp", "SenderId"}
        async with sqs.refused("InvalidAttributeName", "Unknown Attribute Nonsense."):
            await ask(AttributeNames=["Nonsense"])

    with_sqs(tmp_path, test)


@pytest.mark.parametrize(
    "attributes",
    [
        {"": text("v")},
        {"a b": text("v")},
        {".a": text("v")},
        {"a.": text("v")},
        {"a..b": text("v")},
        {"AWS.a": text("v")},
        {"amazon.a": text("v")},
        {"a" * 257: text("v")},
        {"a": text("")},
        {"a": text("\x01")},
        {"a": {"DataType": "", "StringValue": "v"}},
        {"a": {"DataType": "Text", "StringValue": "v"}},
        {"a": {"DataType": "String." + "x" * 250, "StringValue": "v"}},
        {"a": {"DataType": "Binary", "StringValue": "v"}},
        {"a": {"DataType": "String", "BinaryValue": b"v"}},
        {"a": {"DataType": "Number", "StringValue": "x"}},
        {"a": {"DataType": "Number", "StringValue": "NaN"}},
        {"a": {"DataType": "Number", "StringValue": "1" * 39}},
        {"a": {"DataType": "Number", "StringValue": "1E127"}},
        {"a": {"DataType": "Number", "StringValue": "1E-129"}},
        {str(number): text("v") for number in range(11)},
    ],
)
def test_attributes_that_no_message_has(tmp_path, attributes):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        async with sqs.refused("InvalidParameterValue"):
            await sqs.send(url, "a", MessageAttributes=attributes)

    with_sqs(tmp_path, test)


def test_attributes_at_their_limits(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", MessageAttributes={str(number): text("v") for number in range(10)})
        await sqs.send(url, "a", MessageAttributes={"a" * 256: {"DataType": "String." + "x" * 249, "StringValue": "v"}})
        for number in ("1" * 38, "1E126", "1E-128", "-0", "0." + "0" * 50 + "1"):
            await sqs.send(url, "a", MessageAttributes={"a": {"DataType": "Number", "StringValue": number}})
        async with sqs.refused("UnsupportedOperation"):
            await sqs.send(url, "a", MessageAttributes={"a": {"DataType": "String", "StringListValues": ["v"]}})

    with_sqs(tmp_path, test)


def test_bodies_that_cannot_be(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        async with sqs.refused("MissingParameter", "The request must contain the parameter MessageBody."):
            await sqs.send(url, "")
        expected = (
            "Invalid binary character '#x1' was found in the message body, the set of allowed characters is "
            "#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
        )
        async with sqs.refused("InvalidMessageContents", expected):
            await sqs.send(url, "a\x01")
        body = "\t\n\r \ud7ff\ue000\ufffd\U00010000\U0010ffff"
        (sent,) = await sqs.send(url, body)
        assert sent["MD5OfMessageBody"] == hashlib.md5(body.encode()).hexdigest()
        assert await sqs.bodies(url) == [body]

    with_sqs(tmp_path, test)


def test_the_trace_header_comes_back(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        trace = {"AWSTraceHeader": text("Root=1-5e1b4151-5ac6c58f5b5dbd6b5e1b4151")}
        (sent,) = await sqs.send(url, "a", MessageSystemAttributes=trace)
        assert len(sent["MD5OfMessageSystemAttributes"]) == 32
        (message,) = await sqs.receive(url)
        assert message["Attributes"]["AWSTraceHeader"] == trace["AWSTraceHeader"]["StringValue"]
        for wrong in ({"Other": text("v")}, {"AWSTraceHeader": {"DataType": "Number", "StringValue": "1"}}):
            async with sqs.refused("InvalidParameterValue"):
                await sqs.send(url, "a", MessageSystemAttributes=wrong)

    with_sqs(tmp_path, test)


def test_numbers_at_their_limits_and_one_past_them(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a", DelaySeconds=900)
        for delay in (-1, 901):
            async with sqs.refused("InvalidParameterValue"):
                await sqs.send(url, "a", DelaySeconds=delay)
        text_ = "Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided."
        async with sqs.refused("InvalidParameterValue", text_):
            await sqs.receive(url, 11)
        for wrong in (
            {"most": 0},
            {"WaitTimeSeconds": -1},
            {"WaitTimeSeconds": 21},
            {"VisibilityTimeout": -1},
            {"VisibilityTimeout": 43_201},
            {"ReceiveRequestAttemptId": "standard queues have none"},
            {"ReceiveRequestAttemptId": "r"},
        ):
            async with sqs.refused("InvalidParameterValue"):
                await sqs.receive(url, **wrong)
        await sqs.receive(url, 10, WaitTimeSeconds=0, VisibilityTimeout=43_200)

    with_sqs(tmp_path, test)


def test_what_happens_is_counted(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "abc", "de")
        await sqs.delete(url, (await sqs.receive(url))[0])
        await sqs.receive(url)
        assert [metric for metric in sqs.metrics if not metric[0].startswith("Approximate")] == [
            ("NumberOfMessagesSent", 1, "Count"),
            ("SentMessageSize", 3, "Bytes"),
            ("NumberOfMessagesSent", 1, "Count"),
            ("SentMessageSize", 2, "Bytes"),
            ("NumberOfMessagesReceived", 2, "Count"),
            ("NumberOfMessagesDeleted", 1, "Count"),
            ("NumberOfEmptyReceives", 1, "Count"),
        ]
        sqs.metrics.clear()
        await sqs.clock.sleep(61)
        gauges = {name: (value, unit) for name, value, unit in sqs.metrics}
        assert gauges["ApproximateNumberOfMessagesVisible"] == (1, "Count")
        assert 58 <= gauges["ApproximateAgeOfOldestMessage"][0] <= 61

    with_sqs(tmp_path, test)


def test_in_flight_messages_have_a_limit(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        await sqs.send(url, "a")
        (live,) = sqs.service.by_key.values()
        live.core.in_flight += 120_000
        async with sqs.refused("OverLimit"):
            await sqs.receive(url)
        assert await sqs.receive(url, WaitTimeSeconds=1) == []
        live.core.in_flight -= 1
        assert await sqs.bodies(url) == ["a"]

    with_sqs(tmp_path, test)


def test_a_thousand_and_ten_thousand_messages_come_once_each(tmp_path):
    async def test(sqs: Client) -> None:
        url = await sqs.queue()
        for start in range(0, 3000, 10):
            entries = [{"Id": str(n), "MessageBody": str(start + n)} for n in range(10)]
            await sqs("SendMessageBatch", QueueUrl=url, Entries=entries)
        (live,) = sqs.service.by_key.values()
        assert len(live.core.entries) <= 2000
        found: list[str] = []
        while bodies := await sqs.bodies(url):
            found += bodies
        assert found == [str(number) for number in range(3000)]

    with_sqs(tmp_path, test)
